// Menus are popovers, confirmations are dialogs; both open without this file. Here: where a menu stands, arrow keys in it,
// `data-confirm` on a form or a button, and a stand-in for `commandfor` in browsers that lack it.
const GAP = 4;

const openerOf = (menu) => document.querySelector(`[popovertarget="${CSS.escape(menu.id)}"]`);
// Where the opener of the open menu stood when it was opened.
let stood;

function place(menu) {
  if (CSS.supports("position-area", "bottom")) return;
  const opener = openerOf(menu);
  if (!opener) return;
  const at = opener.getBoundingClientRect();
  const [width, height] = [menu.offsetWidth, menu.offsetHeight];
  const below = at.bottom + GAP + height <= innerHeight || at.top < height;
  const left = menu.dataset.align === "start" ? at.left : at.right - width;
  menu.style.top = `${Math.max(below ? at.bottom + GAP : at.top - GAP - height, GAP)}px`;
  menu.style.left = `${Math.min(Math.max(left, GAP), Math.max(innerWidth - width - GAP, GAP))}px`;
}

document.addEventListener("toggle", (event) => {
  const menu = event.target;
  if (!menu.matches?.("[popover][data-menu]") || event.newState !== "open") return;
  place(menu);
  menu.querySelector("a[href], button, input")?.focus({ preventScroll: true });
}, true);

document.addEventListener("beforetoggle", (event) => {
  if (event.target.matches?.("[popover][data-menu]") && event.newState === "open") stood = openerOf(event.target)?.getBoundingClientRect().top;
}, true);

// A fixed menu would stay behind while its row scrolls away. What had scrolled before it was opened may be told of only now.
document.addEventListener("scroll", (event) => {
  const open = document.querySelector("[popover][data-menu]:popover-open");
  if (open && !open.contains(event.target) && openerOf(open)?.getBoundingClientRect().top !== stood) open.hidePopover();
}, true);

document.addEventListener("keydown", (event) => {
  const menu = event.target.closest?.("[popover][data-menu]");
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!menu || !step || event.target.matches("input, select, textarea")) return;
  event.preventDefault();
  const items = [...menu.querySelectorAll("a[href], button:not(:disabled)")];
  items.at((items.indexOf(event.target) + step) % items.length)?.focus();
});

if (!("command" in HTMLButtonElement.prototype)) {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[commandfor]");
    const dialog = button && document.getElementById(button.getAttribute("commandfor"));
    if (!dialog) return;
    if (button.getAttribute("command") === "show-modal") dialog.showModal();
    else dialog.close();
  });
}

// Ask first: the words stand in data-confirm, the name of the deed in data-confirm-action (default: the button's own text).
const asked = new WeakSet();

function ask(words, action, then) {
  const dialog = document.getElementById("confirm");
  if (!dialog) return then();
  dialog.querySelector("[data-confirm-words]").textContent = words;
  const yes = dialog.querySelector("[data-confirm-yes]");
  yes.textContent = action;
  dialog.returnValue = "";
  dialog.addEventListener("close", () => { if (dialog.returnValue === "yes") then(); }, { once: true });
  dialog.showModal();
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-confirm], a[data-confirm]");
  if (!button || asked.delete(button)) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  ask(button.dataset.confirm, button.dataset.confirmAction || button.textContent.trim(), () => {
    asked.add(button);
    button.click();
  });
}, true);

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.dataset.confirm || asked.delete(form)) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  const by = event.submitter;
  ask(form.dataset.confirm, form.dataset.confirmAction || by?.textContent.trim() || "Go on", () => {
    asked.add(form);
    form.requestSubmit(by);
  });
}, true);
