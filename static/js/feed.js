// A live list. `data-feed` holds the address of a stream of server-sent events: rows newer than `since`, newest first.
//
// While someone reads (scrolled down, focus in the list, a panel open, a text selected) new rows wait behind the bar,
// so that nothing moves under their eyes. Paused, or in a tab out of sight, no stream is open.
const AGAIN_MS = 1000;
const SLOWEST_MS = 15_000;
const KEPT_ROWS = 300;

class Feed {
  constructor(list) {
    this.list = list;
    this.bar = document.getElementById(list.dataset.feedBar);
    this.failure = document.getElementById("failed-feed");
    this.pause = document.querySelector("[data-feed-pause]");
    this.state = document.querySelector("[data-feed-state]");
    this.waiting = document.createDocumentFragment();
    this.delay = AGAIN_MS;
    this.newest = list.querySelector("[data-id]")?.dataset.id ?? "";
    this.seen = new Set([...list.querySelectorAll("[data-id]")].map((row) => row.dataset.id));
    this.bar?.addEventListener("click", () => this.show());
    this.pause?.addEventListener("click", () => this.toggle());
    if (this.pause) this.pause.hidden = false;
    document.addEventListener("visibilitychange", () => this.follow());
    addEventListener("pagehide", () => this.stop());
    addEventListener("pageshow", () => this.follow());
    this.render();
    this.follow();
  }

  get paused() { return this.pause?.getAttribute("aria-pressed") === "true"; }

  get reading() {
    const scroller = this.list.closest(".with-panel > *");
    return (scroller?.scrollTop || scrollY) > 8 || this.list.contains(document.activeElement)
      || Boolean(document.querySelector("#panel:not([hidden])")) || !getSelection().isCollapsed;
  }

  // One stream while it is wanted, none otherwise.
  follow() {
    if (this.paused || document.hidden || !this.list.isConnected) this.stop();
    else if (!this.stream) this.listen();
  }

  stop() {
    clearTimeout(this.timer);
    this.stream?.abort();
    this.stream = null;
  }

  async listen() {
    const stream = (this.stream = new AbortController());
    try {
      const url = new URL(this.list.dataset.feed, location.href);
      url.searchParams.set("since", this.newest);
      const answer = await fetch(url, { headers: { "HX-Request": "true" }, redirect: "manual", signal: stream.signal });
      if (answer.type === "opaqueredirect") return this.end();
      if (!answer.ok) throw new Error(String(answer.status));
      this.delay = AGAIN_MS;
      this.fail(null);
      if (!(await this.read(answer.body))) return this.end();
    } catch {
      if (stream.signal.aborted) return;
      this.delay = Math.min(this.delay * 2, SLOWEST_MS);
      this.fail(this.failure);
    }
    this.stream = null;
    this.timer = setTimeout(() => this.follow(), this.delay);
  }

  // Until the stream is over; false when the server will not go on with it.
  async read(body) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    for (let rest = ""; ; ) {
      const { value, done } = await reader.read();
      if (done) return true;
      const messages = (rest + value).split("\n\n");
      rest = messages.pop();
      for (const message of messages) {
        const lines = message.split("\n");
        if (lines.includes("event: refused")) return false;
        if (lines.includes("event: rows")) this.take(lines.filter((line) => line.startsWith("data: ")).map((line) => line.slice(6)).join("\n"));
      }
    }
  }

  // The session is over: no later try would do better.
  end() { this.fail(document.getElementById("failed-session")); }

  take(markup) {
    const holder = document.createElement("template");
    holder.innerHTML = markup;
    // A new stream sends the last seconds again: events of several processes become visible out of order.
    // What is older than the page, though, is on the next one.
    const { feedOldest = "" } = this.list.dataset;
    const rows = [...holder.content.querySelectorAll("[data-id]")].filter((row) => !this.seen.has(row.dataset.id) && row.dataset.id >= feedOldest);
    if (!rows.length) return;
    rows.forEach((row) => this.seen.add(row.dataset.id));
    if (rows[0].dataset.id > this.newest) this.newest = rows[0].dataset.id;
    this.waiting.prepend(...rows);
    this.reading ? this.render() : this.show();
  }

  show() {
    const rows = [...this.waiting.children];
    document.getElementById("feed-empty")?.setAttribute("hidden", "");
    this.list.closest("[data-feed-table]")?.removeAttribute("hidden");
    rows.forEach((row) => row.classList.add("new"));
    this.list.prepend(...rows);
    window.htmx?.process(this.list);
    [...this.list.querySelectorAll("[data-id]")].slice(KEPT_ROWS).forEach((row) => row.remove());
    this.render();
    if (rows.length) this.say(`${rows.length} new`);
  }

  toggle() {
    this.pause.setAttribute("aria-pressed", String(!this.paused));
    this.render();
    this.follow();
  }

  fail(template) {
    const shown = document.querySelector(".feed-failed");
    if (!template) return shown?.remove();
    if (shown) return;
    const said = template.content.firstElementChild.cloneNode(true);
    said.classList.add("feed-failed");
    said.querySelector("[data-retry]")?.addEventListener("click", () => { this.stop(); this.delay = AGAIN_MS; this.follow(); });
    (this.bar ?? this.list.closest(".tbl-wrap")).before(said);
  }

  say(words) {
    const region = document.getElementById("announce");
    if (region) region.textContent = words;
  }

  render() {
    const count = this.waiting.children.length;
    if (this.bar) {
      this.bar.hidden = count === 0;
      this.bar.querySelector("[data-feed-count]").textContent = String(count);
      const noun = this.bar.querySelector("[data-feed-noun]");
      noun.textContent = count === 1 ? noun.dataset.one : noun.dataset.many;
    }
    if (this.state) {
      this.state.hidden = false;
      this.state.querySelectorAll("[data-when]").forEach((part) => { part.hidden = (part.dataset.when === "paused") !== this.paused; });
    }
    this.pause?.querySelectorAll("[data-when]").forEach((part) => { part.hidden = (part.dataset.when === "paused") !== this.paused; });
  }
}

const started = new WeakSet();
function start() {
  document.querySelectorAll("[data-feed]").forEach((list) => {
    if (started.has(list)) return;
    started.add(list);
    new Feed(list);
  });
}
start();
document.addEventListener("htmx:after:process", start);

document.addEventListener("keydown", (event) => {
  if (event.key !== "p" || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select")) return;
  document.querySelector("[data-feed-pause]")?.click();
});
