// The queue of held calls stays as it is on the server while somebody looks at it: new ones come at their place, decided ones
// leave, nothing that is being read or typed moves. The page's title counts what is open; times until an end run on.
const EVERY_MS = 2000;
const SOON_MS = 3_600_000;
const list = () => document.querySelector("[data-queue]");
// The hold in the panel, as long as nothing is known to have become of it.
const watched = () => document.querySelector("#panel [data-hold][data-state='pending']");
const words = document.title.replace(/^\(\d+\) /, "");

function until(time) {
  const seconds = Math.round((Date.parse(time.dateTime) - Date.now()) / 1000);
  if (seconds <= 0) return "over";
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

function tick() {
  document.querySelectorAll("time[data-until]").forEach((time) => {
    const left = until(time);
    if (time.textContent !== left) time.textContent = left;
    time.toggleAttribute("data-soon", Date.parse(time.dateTime) - Date.now() < SOON_MS);
  });
}

function put(fresh) {
  const shown = list();
  const known = new Map([...shown.children].map((item) => [item.dataset.id, item]));
  [...fresh.children].forEach((item, place) => {
    const id = item.dataset.id;
    const old = known.get(id);
    known.delete(id);
    const at = shown.children[place] ?? null;
    if (!old || old.dataset.state !== item.dataset.state) {
      if (old?.getAttribute("aria-current")) item.setAttribute("aria-current", "true");
      old?.remove();
      shown.insertBefore(item, shown.children[place] ?? null);
      window.htmx?.process(item);
    } else if (old !== at) {
      shown.insertBefore(old, at);
    }
  });
  known.forEach((item) => item.remove());
  shown.dataset.open = fresh.dataset.open;
  count(fresh.dataset.open);
  const hold = watched();
  if (!hold || fresh.dataset.gone !== hold.dataset.hold) return;
  hold.querySelector("[data-hold-told]").textContent = fresh.dataset.told;
  hold.querySelector("[data-hold-gone]").hidden = false;
}

function count(open) {
  document.title = Number(open) ? `(${open}) ${words}` : words;
  const shown = document.getElementById("page-count");
  if (shown) shown.textContent = `${open} open`;
  const menu = document.getElementById("menu-count");
  if (!menu) return;
  menu.hidden = !Number(open);
  menu.firstChild.data = open;
}

async function look() {
  if (!list()) return;
  try {
    const hold = watched()?.dataset.hold;
    const answer = await fetch(list().dataset.queue + (hold ? `&hold=${hold}` : ""), { headers: { "HX-Request": "true" } });
    if (!answer.ok || answer.redirected) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("[data-queue]");
    if (fresh) put(fresh);
  } catch {
    // The next look tries again; what is shown says how old it is.
  }
}

// One key chooses, Enter confirms: nobody approves by leaning on the keyboard.
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select, dialog, [popover]")) return;
  document.querySelector(`#panel [data-key="${CSS.escape(event.key)}"]`)?.focus();
});

document.addEventListener("htmx:after:swap", () => { tick(); look(); });
setInterval(tick, 1000);
setInterval(() => document.hidden || look(), EVERY_MS);
tick();
