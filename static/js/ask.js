// A question that the server answered with instead of a change: a dialog put into #ask is opened over the page.
document.addEventListener("htmx:after:swap", () => {
  const asked = document.querySelector("#ask dialog:not([open])");
  if (!asked) return;
  asked.addEventListener("close", () => asked.remove(), { once: true });
  asked.showModal();
});
