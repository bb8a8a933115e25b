// Small things every page has: copy buttons, "/" for search, toasts that leave, relative times that go on.
const say = (words) => { const region = document.getElementById("announce"); if (region) region.textContent = words; };

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy], [data-copy-from]");
  if (!button) return;
  const source = button.dataset.copyFrom && document.querySelector(button.dataset.copyFrom);
  try {
    await navigator.clipboard.writeText(source ? source.textContent : button.dataset.copy);
  } catch {
    // No clipboard outside a secure context: leave the text selected for the person's own copy.
    if (source) getSelection().selectAllChildren(source);
    return say("Could not copy. The text is selected.");
  }
  button.classList.add("copied");
  say("Copied");
  setTimeout(() => button.classList.remove("copied"), 1500);
});

document.addEventListener("click", (event) => event.target.closest("[data-dismiss]")?.closest("[data-dismissable]")?.remove());

document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select, [contenteditable]")) return;
  const field = document.querySelector(".find input");
  if (!field) return;
  event.preventDefault();
  document.getElementById("side")?.matches(":popover-open") || field.offsetParent || document.getElementById("side")?.showPopover?.();
  field.focus();
});

// What needs no answer leaves by itself, unless it is being read or offers something to press.
const TOAST_MS = 6000;
function expire(toast) {
  if (toast.querySelector("button:not([data-dismiss]), a, form")) return;
  setTimeout(() => (toast.matches(":hover, :focus-within") ? expire(toast) : toast.remove()), TOAST_MS);
}
const toasts = document.getElementById("toasts");
if (toasts) {
  [...toasts.children].forEach(expire);
  new MutationObserver((changes) => changes.forEach(({ addedNodes }) => addedNodes.forEach((node) => node instanceof Element && expire(node)))).observe(toasts, { childList: true });
}

// The server wrote the words; only "n s", "n min" and "n h" grow stale while a page is open.
function tick() {
  document.querySelectorAll("time[data-ago]").forEach((time) => {
    const seconds = Math.round((Date.now() - Date.parse(time.dateTime)) / 1000);
    if (seconds < 0 || seconds >= 86_400) return;
    const span = seconds < 60 ? `${seconds} s` : seconds < 3600 ? `${Math.floor(seconds / 60)} min` : `${Math.floor(seconds / 3600)} h`;
    time.textContent = time.dataset.ago === "short" ? span : `${span} ago`;
  });
}
setInterval(() => document.hidden || tick(), 10_000);
