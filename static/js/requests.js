// What htmx leaves open: the CSRF header, errors said where they happened, and a session that ended while someone typed.
const note = (kind) => document.getElementById(`failed-${kind}`)?.content.firstElementChild.cloneNode(true);
// The element that asked may be gone from the page by now: then htmx tells the document.
const place = (element) => element.closest?.("[data-errors]") || element.closest?.("form, section, .tbl-wrap, .body") || document.getElementById("main");

function clear(element) {
  place(element).querySelectorAll(":scope > .request-failed").forEach((old) => old.remove());
}

function fail(element, kind, requestId) {
  clear(element);
  const said = note(kind);
  if (!said) return;
  said.classList.add("request-failed");
  const id = said.querySelector("[data-request-id]");
  if (id) requestId ? (id.textContent = requestId) : id.closest("[data-request]").remove();
  place(element).prepend(said);
}

document.addEventListener("htmx:config:request", ({ detail: { ctx } }) => {
  const token = document.querySelector('meta[name="csrf-token"]')?.content;
  if (token) ctx.request.headers["X-CSRFToken"] = token;
});

document.addEventListener("htmx:before:request", ({ target }) => clear(target));

document.addEventListener("htmx:before:response", (event) => {
  const { raw } = event.detail.ctx.response;
  const toSignIn = raw.redirected && new URL(raw.url).pathname === document.body.dataset.loginUrl;
  if (!toSignIn && raw.status !== 401) return;
  // The sign-in page must not land in a fragment, and what was typed must stay.
  event.preventDefault();
  fail(event.target, "session");
});

document.addEventListener("htmx:response:error", ({ target, detail: { ctx } }) => {
  // 422 is a form sent back with its errors: that is swapped in and speaks for itself.
  if (ctx.response.status === 422) return;
  fail(target, ctx.response.status === 403 ? "refused" : "request", ctx.response.headers.get("X-Orca-Request-Id"));
});

// What was given up because its element was replaced did not fail: something newer stands in its place.
document.addEventListener("htmx:error", ({ target, detail }) => { if (detail.ctx && target !== document) fail(target, "request"); });

document.addEventListener("htmx:after:swap", ({ detail: { ctx } }) => {
  // A refused form: to its summary, which links to the fields.
  if (ctx.response?.status === 422) document.querySelector(".error-summary")?.focus();
});

// A swap takes what had the focus with it. It goes to what stands in its place: the same element, by its id, the menu's
// button, the row's handle, or else the nearest of its surroundings that can have it.
let trail = [];
const named = (element) => {
  if (element.dataset.grip !== undefined) return `#${CSS.escape(element.closest("[data-row]").id)} [data-grip]`;
  const menu = element.getAttribute("popovertarget") || (element.matches("[popover]") && element.id);
  return menu ? `[popovertarget="${CSS.escape(menu)}"]` : element.id && `#${CSS.escape(element.id)}`;
};

document.addEventListener("htmx:before:swap", () => {
  trail = [];
  for (let at = document.activeElement; at && at !== document.body; at = at.parentElement) trail.push(named(at));
});

document.addEventListener("htmx:after:swap", () => {
  if (document.activeElement !== document.body) return;
  for (const selector of trail.filter(Boolean)) {
    document.querySelector(selector)?.focus({ preventScroll: true });
    if (document.activeElement !== document.body) return;
  }
});
