// The panel beside a list: rows open in it, j and k step, Esc closes, focus goes to its heading and back to the row.
// Without this file a row's link is a page of its own with the same panel open.
const panel = () => document.getElementById("panel");
const links = () => [...document.querySelectorAll("[data-panel-link]")];
let opener = null;

const here = (link) => new URL(link.href).pathname === location.pathname;

function mark() {
  const open = !panel()?.hidden;
  links().forEach((link) => {
    const row = link.closest("tr, li");
    if (open && here(link)) row?.setAttribute("aria-current", "true");
    else row?.removeAttribute("aria-current");
  });
}

function step(by) {
  const all = links();
  const at = all.findIndex(here);
  const next = at < 0 ? all[0] : all[at + by];
  if (!next) return;
  next.click();
  next.closest("tr, li")?.scrollIntoView({ block: "nearest" });
}

function close() {
  const link = panel()?.querySelector("[data-panel-close]");
  if (!link || panel().hidden) return false;
  const back = opener?.isConnected ? opener : links().find(here);
  panel().hidden = true;
  panel().replaceChildren();
  history.pushState({ htmx: true }, "", link.href);
  mark();
  back?.focus();
  return true;
}

document.addEventListener("htmx:before:request", ({ target }) => { if (target.matches?.("[data-panel-link]")) opener = target; });

document.addEventListener("htmx:after:swap", () => {
  const shown = panel();
  if (!shown?.querySelector("[data-panel-close]")) return;
  // The panel itself has the focus where what had it is gone.
  const opening = shown.hidden || document.activeElement === shown || !shown.contains(document.activeElement);
  shown.hidden = false;
  shown.scrollTop = 0;
  mark();
  if (opening) shown.querySelector("[data-panel-heading]")?.focus({ preventScroll: true });
});

document.addEventListener("click", (event) => {
  const control = event.target.closest("[data-panel-close], [data-panel-step]");
  if (control && panel()?.contains(control)) {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    return control.hasAttribute("data-panel-close") ? close() : step(Number(control.dataset.panelStep));
  }
  // The whole row is a target for the mouse; its link is the one for everyone else.
  const row = event.target.closest("tr:has([data-panel-link]), tr[data-row]");
  if (!row || event.target.closest("a, button, input, label, summary") || !getSelection().isCollapsed) return;
  row.querySelector("[data-panel-link], a[href]")?.click();
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select, dialog, [popover]")) return;
  if (event.key === "Escape") close() && event.preventDefault();
  if (links().length && (event.key === "j" || event.key === "k")) step(event.key === "j" ? 1 : -1);
});

mark();
