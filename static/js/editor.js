// Editors: rows that are put in order by dragging or by keys, and a guard over what is not saved yet.
//
// [data-reorder] holds [data-row] rows with a [data-grip] each and stands inside a form; each row carries a hidden field
// with its id. After a move the form is sent, so the server's order is the only one. Without this file the rows' own
// "Move up" and "Move down" buttons do the same.
const rows = (list) => [...list.querySelectorAll(":scope > [data-row]")];

function say(words) {
  const region = document.getElementById("announce");
  if (region) region.textContent = words;
}

function send(list) {
  const form = list.closest("form") || document.getElementById(list.dataset.reorderForm);
  form?.requestSubmit(form.querySelector("[data-reorder-submit]"));
}

let dragged = null;
let before = "";
const order = (list) => rows(list).map((row) => row.dataset.row).join();

document.addEventListener("pointerdown", (event) => {
  const grip = event.target.closest("[data-grip]");
  if (!grip || event.button) return;
  dragged = grip.closest("[data-row]");
  before = order(dragged.parentElement);
  dragged.classList.add("dragged");
  grip.setPointerCapture(event.pointerId);
});

document.addEventListener("pointermove", (event) => {
  if (!dragged) return;
  const over = rows(dragged.parentElement).find((row) => {
    const box = row.getBoundingClientRect();
    return row !== dragged && event.clientY > box.top && event.clientY < box.bottom;
  });
  if (!over) return;
  const box = over.getBoundingClientRect();
  over[event.clientY < box.top + box.height / 2 ? "before" : "after"](dragged);
});

function drop(keep) {
  if (!dragged) return;
  const row = dragged;
  dragged = null;
  row.classList.remove("dragged");
  if (keep && order(row.parentElement) !== before) send(row.parentElement);
}
document.addEventListener("pointerup", () => drop(true));
document.addEventListener("pointercancel", () => drop(false));

document.addEventListener("keydown", (event) => {
  const grip = event.target.closest?.("[data-grip]");
  const down = { ArrowDown: true, ArrowUp: false }[event.key];
  if (!grip || down === undefined) return;
  event.preventDefault();
  const row = grip.closest("[data-row]");
  const all = rows(row.parentElement);
  const other = all[all.indexOf(row) + (down ? 1 : -1)];
  if (!other) return;
  other[down ? "after" : "before"](row);
  grip.focus();
  say(`Moved to place ${rows(row.parentElement).indexOf(row) + 1} of ${all.length}`);
  clearTimeout(row.parentElement.sending);
  // One request after the last of several presses.
  row.parentElement.sending = setTimeout(() => send(row.parentElement), 600);
});

// form[data-guard]: leaving asks while a field differs from what the server sent. A [data-save-bar] shows only then.
const differs = (field) => {
  if (field.type === "checkbox" || field.type === "radio") return field.checked !== field.defaultChecked;
  if (field.options) return [...field.options].some((option) => option.selected !== option.defaultSelected) && [...field.options].some((option) => option.defaultSelected || option.selected && option.index);
  return "defaultValue" in field && field.type !== "hidden" && field.value !== field.defaultValue;
};
const changed = (form) => [...form.elements].filter(differs);
let leaving = false;

function show(form) {
  const count = changed(form).length;
  const bar = document.querySelector(`[data-save-bar="${form.id}"]`);
  if (!bar) return;
  bar.hidden = count === 0 && !form.querySelector(".is-invalid");
  const words = bar.querySelector("[data-save-count]");
  if (words) words.textContent = count === 1 ? "1 field changed" : `${count} fields changed`;
}

const guarded = () => [...document.querySelectorAll("form[data-guard]")];
document.addEventListener("input", (event) => { const form = event.target.form; if (form?.matches("[data-guard]")) show(form); });
document.addEventListener("reset", (event) => { if (event.target.matches("[data-guard]")) setTimeout(() => show(event.target)); });
document.addEventListener("submit", (event) => { if (event.target.matches("[data-guard]")) leaving = true; });
document.addEventListener("htmx:finally:request", () => { leaving = false; });
addEventListener("beforeunload", (event) => { if (!leaving && guarded().some((form) => changed(form).length)) event.preventDefault(); });
guarded().forEach(show);
document.addEventListener("htmx:after:swap", () => guarded().forEach(show));
