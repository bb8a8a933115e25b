// A question that the server answered with instead of a change: a dialog put into #ask is opened over the page.
document.addEventListener("htmx:after:swap", ({ detail: { ctx } }) => {
  // What was chosen in it is on the page by now.
  const chosenIn = ctx.sourceElement?.closest?.("#ask dialog[open]");
  if (chosenIn) return chosenIn.close();
  const asked = document.querySelector("#ask dialog:not([open])");
  // One that was closed a moment ago is still there, and another swap must not open it again.
  if (!asked || asked.dataset.asked) return;
  asked.dataset.asked = "once";
  asked.addEventListener("close", () => asked.remove(), { once: true });
  asked.showModal();
});
