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
  // One request after the last of several presses; none for a list that was renewed meanwhile.
  const list = row.parentElement;
  list.sending = setTimeout(() => { if (list.isConnected) send(list); }, 600);
});

// form[data-guard]: leaving asks while a field differs from what the server sent. A [data-save-bar] shows only then.
const differs = (field) => {
  if (field.type === "checkbox" || field.type === "radio") return field.checked !== field.defaultChecked;
  if (field.options) return [...field.options].some((option) => option.selected !== option.defaultSelected) && [...field.options].some((option) => option.defaultSelected || option.selected && option.index);
  return "defaultValue" in field && field.type !== "hidden" && field.value !== field.defaultValue;
};
const mine = (field) => field.name && field.type !== "hidden" && field.type !== "submit";
// [data-unsaved]: the server sent a form with something in it that nobody saved.
const changed = (form) => "unsaved" in form.dataset ? [...form.elements].filter(mine) : [...form.elements].filter(differs);
let leaving = false;

function show(form) {
  const count = changed(form).length;
  const bar = document.querySelector(`[data-save-bar="${form.id}"]`);
  if (!bar) return;
  bar.hidden = count === 0 && !("always" in bar.dataset) && !form.querySelector(".is-invalid");
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

// #editor is renewed as a whole. What was typed in its other forms and not saved is put back into them: into the same form
// only, told by where it goes. A form stays based on the version that it began with, unless the one change since is the
// page's own: else saving it would write over somebody else's change unseen.
let typed = [];
const fieldsOf = (form) => [...form.elements].filter(mine).length;
const sentBy = (ctx) => ctx.sourceElement?.closest?.("form");
// The words beside a rule and the test box are renewed meanwhile, by requests of their own that save nothing.
const renewsEditor = (ctx) => ctx.target?.id === "editor" || ctx.target === "#editor";

document.addEventListener("htmx:before:swap", ({ detail: { ctx } }) => {
  if (!renewsEditor(ctx)) return;
  typed = guarded().filter((form) => form !== sentBy(ctx) && !ctx.sourceElement?.hasAttribute?.("data-discard") && changed(form).length).map((form) => ({
    form,
    version: Number(form.elements.version?.value),
    values: [...form.elements].filter(mine).map((field) => [field.name, field.value, field.checked]),
  }));
});

document.addEventListener("htmx:after:swap", ({ detail: { ctx } }) => {
  if (!renewsEditor(ctx)) return;
  const now = Number(document.getElementById("editor")?.dataset.version);
  const saved = ctx.request.method !== "GET" && ctx.response?.status === 200 ? 1 : 0;
  for (const { form, version, values } of typed.filter(({ form }) => !form.isConnected)) {
    const same = guarded().find((each) => each.id === form.id && each.action === form.action);
    if (!same) continue;
    // By place as well as by name: the presets of a rule, and its clauses, share theirs.
    const fields = [...same.elements].filter(mine);
    for (const [name, value, checked] of values) {
      const at = fields.findIndex((each) => each.name === name);
      const [field] = at < 0 ? [] : fields.splice(at, 1);
      if (!field) continue;
      if (field.type === "checkbox") field.checked = checked;
      else field.value = value;
    }
    // Rows that were added have no place in a form that is new: they come out of its JSON.
    const raw = same.elements.raw;
    if (raw && values.length > fieldsOf(same)) raw.dispatchEvent(new Event("refill"));
    else same.dispatchEvent(new Event("change"));
    if (same.elements.version && now > version + saved) same.elements.version.value = version;
    show(same);
  }
  typed = typed.filter(({ form }) => form.isConnected);
});

// Another rule's form takes the place of this one.
document.addEventListener("htmx:before:request", (event) => {
  const from = event.target;
  const open = document.getElementById("rule-form");
  if (!open || !from.matches("#editor a[hx-target='#editor']") || from.hasAttribute("data-discard") || !changed(open).length) return;
  if (!confirm("Discard what you changed in this rule?")) event.preventDefault();
});
