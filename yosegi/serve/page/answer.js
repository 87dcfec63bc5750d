// An answer while it is written: its tokens, who was strongest where, and how long it took.
const tokens = new WeakMap();

class Answer {
  // `follow`: whether the page scrolls along while this is written.
  constructor(arm, again, follow = false) {
    this.arm = arm;
    this.follow = follow;
    this.text = make("div", { className: "text" });
    this.legend = make("ul", { className: "legend", ariaLabel: "Share of tokens at which each expert is strongest" });
    this.state = make("p", { className: "fine dim" });
    this.retry = make("button", { type: "button", className: "quiet", hidden: true, onclick: again }, "Try again");
    this.trouble = make("p", { className: "trouble", role: "alert", hidden: true });
    this.element = make(
      "article",
      { className: "answer", ariaLabel: `Answer of ${arm.label}` },
      make("h2", {}, make("bdi", {}, arm.label)),
      this.text,
      this.trouble,
      this.legend,
      make("div", { className: "bar" }, this.state, this.retry),
    );
    this.clear();
  }

  // An answer that is asked for again stays until another one begins.
  begin() {
    this.asked = performance.now();
    this.trouble.hidden = this.retry.hidden = true;
    this.element.classList.add("writing");
    this.element.ariaBusy = "true";
    this.state.textContent = "waiting…";
  }

  clear() {
    if (this.text.contains(pinned)) unpin();
    this.written = "";
    this.fresh = document.createDocumentFragment();
    this.wait = this.length = 0;
    this.rest = "";
    this.queue = [];
    this.experts = [];
    this.reason = null;
    this.first = null;
    this.ended = null;
    this.counts = new Map();
    this.start = this.asked;
    this.text.replaceChildren();
    this.legend.replaceChildren();
  }

  add(text, routing, reason) {
    this.reason = reason ?? this.reason;
    const given = routing?.tokens ?? [];
    if (!text && !given.length) return;
    this.first ??= performance.now();
    this.written += text;
    this.rest += text;
    this.length += Math.max(given.length, text ? 1 : 0);
    this.experts = routing?.experts ?? this.experts;
    if (this.experts.length) this.queue.push(...given);
    this.pair(!this.experts.length);
    this.later ??= setTimeout(() => this.show(), this.wait);
  }

  // Gives each token its text. Text may come later than its tokens, since what may become a stop string is held back, and alone a
  // token may be a part of a character, or lack its space; then it gets the text up to the next token that is found.
  pair(all) {
    const take = (number, length) => {
      if (length) this.put(this.rest.slice(0, length), this.queue[0]);
      this.queue.splice(0, number);
      this.rest = this.rest.slice(length);
    };
    while (this.queue.length && this.rest) {
      const { text } = this.queue[0],
        found = text && [text, ` ${text}`].find(one => this.rest.startsWith(one));
      if (found) {
        take(1, found.length);
        continue;
      }
      const next = this.queue.findIndex(
        (other, i) => i && other.text.trim() && !other.text.includes("\ufffd") && this.rest.includes(other.text),
      );
      if (next < 0) break;
      take(next, this.rest.indexOf(this.queue[next].text));
    }
    if (all && this.rest) take(1, this.rest.length);
  }

  // Adds to what is shown next.
  put(text, token) {
    if (!token) return void this.fresh.append(make("span", {}, text));
    const { experts } = this,
      { weights } = token,
      size = weights.reduce((sum, w) => sum + Math.abs(w), 0);
    const strongest = weights.reduce((best, w, e) => (Math.abs(w) > Math.abs(weights[best]) ? e : best), 0);
    const near = weights.some((w, e) => e !== strongest && Math.abs(weights[strongest]) - Math.abs(w) < 1e-6);
    const stands = size > 0 && !near ? experts[strongest] : null;
    const span = make("span", { className: `token ${stands === null ? "even" : look(stands)}` }, text);
    span.style.setProperty("--w", size ? (Math.abs(weights[strongest]) / size).toFixed(2) : "0");
    tokens.set(span, { text, weights, layers: token.layers, experts });
    if (!this.counts.size) stop(span);
    this.counts.set(stands, (this.counts.get(stands) ?? 0) + 1);
    this.fresh.append(span);
  }

  // Shows what has come since. A long answer takes the browser a while to lay out, so it is shown in fewer, larger pieces.
  show() {
    clearTimeout(this.later);
    this.later = null;
    const begun = performance.now(),
      stays = this.follow && atTheEnd();
    this.text.append(this.fresh);
    this.tell();
    if (stays) toTheEnd();
    this.wait = Math.min(1000, 16 + 4 * (performance.now() - begun));
  }

  used(usage) {
    this.length = usage.completion_tokens ?? this.length;
  }

  tell() {
    const all = [...this.counts.values()].reduce((a, b) => a + b, 0),
      ranked = [...this.counts].sort((a, b) => b[1] - a[1]);
    const item = ([name, n]) =>
      make(
        "li",
        {},
        name === null
          ? make("span", {}, make("i", { className: "swatch even", ariaHidden: "true" }, "\u00a0".repeat(4)), "none stands out")
          : named(name),
        " ",
        make("b", {}, percent(n / all)),
      );
    this.legend.replaceChildren(
      ...ranked.slice(0, 8).map(item),
      ...(ranked.length > 8 ? [make("li", {}, `and ${ranked.length - 8} more`)] : []),
    );
    const now = this.ended ?? performance.now(),
      seconds = (now - this.first) / 1000;
    const parts = this.length ? [`${count(this.length)} token${this.length === 1 ? "" : "s"}`] : [];
    if (this.first !== null) parts.push(`first after ${((this.first - this.start) / 1000).toFixed(2)} s`);
    if (this.first !== null && this.length > 1 && seconds > 0.05) parts.push(`then ${digits((this.length - 1) / seconds)} a second`);
    if (this.note) parts.push(this.note);
    this.state.textContent = parts.join(" · ");
  }

  // Streams, and sees to it that the answer ends as something: whole, stopped, or with what went wrong.
  async write(turns, signal) {
    this.note = null;
    this.whole = false;
    let trouble = null;
    try {
      await stream(this.arm, turns, this, signal);
      if (this.reason === "length") this.note = "cut at max tokens";
    } catch (error) {
      if (error.name === "AbortError") this.note = "stopped";
      else trouble = error instanceof Refused ? error : new Refused(`The page did not understand the server: ${error.message}`);
    }
    this.ended ??= performance.now();
    this.element.classList.remove("writing");
    this.element.ariaBusy = "false";
    this.pair(true);
    this.show();
    if (trouble) {
      const wait = trouble.wait ? ` Try again in ${count(trouble.wait)} s.` : "";
      this.trouble.textContent = trouble.message + wait + (this.written ? " What came by then is kept." : "");
      this.trouble.hidden = this.retry.hidden = false;
    } else {
      announce(`${this.arm.label}${this.note ? ` (${this.note})` : ""}: ${shorten(this.written, 4000) || "an empty answer"}`);
      if (!this.written) this.text.append(make("span", { className: "dim" }, "(empty)"));
    }
    this.whole = !trouble;
  }
}

const page = document.documentElement;
const atTheEnd = () => page.scrollHeight - page.clientHeight - page.scrollTop < 60;
const toTheEnd = () => page.scrollTo({ top: page.scrollHeight });

// The card of a token. It follows the pointer and the focus; a click or Enter keeps it until Escape.
const tip = byId("tip");
let pinned = null;

const visible = text => text.replace(/ /g, "␣").replace(/\n/g, "⏎").replace(/\t/g, "⇥") || "(nothing)";

function ranked({ weights, experts }) {
  return experts.map((name, e) => ({ name, e, weight: weights[e] })).sort((a, b) => Math.abs(b.weight) - Math.abs(a.weight));
}

// Makes a token the stop of the Tab key in its answer.
function stop(span) {
  for (const other of span.parentElement?.querySelectorAll("[tabindex]") ?? [])
    for (const name of ["tabindex", "role", "aria-label"]) other.removeAttribute(name);
  const token = tokens.get(span),
    most = ranked(token)
      .slice(0, 3)
      .map(({ name, weight }) => `${name} ${digits(weight)}`);
  span.tabIndex = 0;
  span.setAttribute("role", "button");
  span.setAttribute("aria-label", `${visible(token.text)}: ${most.join(", ")}`);
}

// Weights by block of the model (over the layers in it) and by expert.
function heat({ layers, experts }, first) {
  const blocks = new Map();
  for (const [layer, weights] of Object.entries(layers)) {
    const block = /(?:^|\.)(\d+)(?:\.|$)/.exec(layer)?.[1] ?? layer;
    blocks.set(block, [...(blocks.get(block) ?? []), weights]);
  }
  const rows = [...blocks].map(([block, all]) => [block, first.map(({ e }) => all.reduce((sum, w) => sum + w[e], 0) / all.length)]);
  const top = Math.max(...rows.flatMap(([, weights]) => weights.map(Math.abs))) || 1;
  const tall = Math.max(4, Math.min(14, Math.floor(150 / rows.length))),
    wide = Math.min(34, Math.floor(250 / first.length));
  const picture = draw("svg", { class: "grid", width: wide * first.length, height: 8 + tall * rows.length, role: "img" });
  const strongest = rows.map(
    ([block, weights]) => `${block} ${first[weights.reduce((best, w, i) => (Math.abs(w) > Math.abs(weights[best]) ? i : best), 0)].name}`,
  );
  picture.setAttribute("aria-label", `Strongest expert by block: ${strongest.join(", ")}`);
  first.forEach(({ name }, x) =>
    picture.append(draw("rect", { class: `head ${look(name)}`, x: x * wide + 1, y: 0, width: wide - 2, height: 4 })),
  );
  rows.forEach(([block, weights], y) =>
    weights.forEach((w, x) =>
      picture.append(
        draw(
          "rect",
          {
            class: w < 0 ? "below" : "cell",
            x: x * wide + 0.5,
            y: 8 + y * tall,
            width: wide - 1,
            height: tall - (tall > 6 ? 1 : 0),
            "fill-opacity": (Math.abs(w) / top).toFixed(3),
          },
          draw("title", {}, `${block}: ${first[x].name} ${digits(w)}`),
        ),
      ),
    ),
  );
  const ends = make("span", { className: "ends" }, make("span", {}, `block ${rows[0][0]}`), make("span", {}, `block ${rows.at(-1)[0]}`));
  return make("figure", {}, make("figcaption", {}, "By block of the model"), make("div", { className: "blocks" }, ends, picture));
}

function explain(span) {
  const token = tokens.get(span),
    all = ranked(token),
    first = all.slice(0, 8),
    most = Math.max(...all.map(({ weight }) => Math.abs(weight))) || 1;
  const rows = first.map(({ name, weight }) => {
    const bar = make("i", { className: `bar-of ${look(name)}` });
    bar.style.setProperty("--d", (Math.abs(weight) / most).toFixed(3));
    return row([named(name), make("td", { className: "meter" }, bar), make("td", { className: "n" }, weight.toFixed(3))]);
  });
  const parts = [
    make("p", { className: "what" }, make("code", {}, shorten(visible(token.text), 40))),
    make("table", {}, make("tbody", {}, ...rows)),
  ];
  if (all.length > 8) parts.push(make("p", { className: "fine dim" }, `and ${all.length - 8} experts with less`));
  if (token.layers && Object.keys(token.layers).length) parts.push(heat(token, first));
  tip.replaceChildren(...parts);
  tip.hidden = false;
  const box = span.getClientRects()[0] ?? span.getBoundingClientRect(),
    below = box.bottom + 8;
  const above = box.top - tip.offsetHeight - 8;
  tip.style.left = `${Math.max(8, Math.min(box.left, page.clientWidth - tip.offsetWidth - 8))}px`;
  tip.style.top = `${Math.max(8, below + tip.offsetHeight < innerHeight || above < 8 ? Math.min(below, innerHeight - tip.offsetHeight - 8) : above)}px`;
}

function unpin() {
  pinned?.classList.remove("pinned");
  pinned = null;
  tip.classList.remove("kept");
  tip.hidden = true;
}

function pin(span) {
  const same = span === pinned;
  unpin();
  if (same) return;
  explain(span);
  pinned = span;
  span.classList.add("pinned");
  tip.classList.add("kept");
}

const tokenOf = event => (event.target instanceof Element && tokens.has(event.target) ? event.target : null);

document.addEventListener("pointerover", event => {
  if (pinned || event.pointerType === "touch") return;
  if (tokenOf(event)) explain(tokenOf(event));
  else if (!tokens.has(document.activeElement)) tip.hidden = true;
});
document.addEventListener("focusin", event => {
  if (tokenOf(event) && !pinned) explain(tokenOf(event));
});
document.addEventListener("focusout", event => {
  if (tokenOf(event) && !pinned) tip.hidden = true;
});
document.addEventListener("click", event => {
  if (tokenOf(event)) pin(tokenOf(event));
  else if (!tip.contains(event.target)) unpin();
});
document.addEventListener("keydown", event => {
  const span = tokenOf(event);
  if (event.key === "Escape") tip.hidden = true;
  if (!span) return;
  if (event.key === "Enter" || event.key === " ") {
    event.preventDefault();
    return pin(span);
  }
  const to = walk(
    event,
    [...span.parentElement.children].filter(other => tokens.has(other)),
  );
  if (!to) return;
  unpin();
  stop(to);
  to.focus();
});
// The card goes along with a token that is kept or has the focus; one that was only pointed at has moved away.
addEventListener(
  "scroll",
  () => {
    const focused = tokens.has(document.activeElement) && document.activeElement.matches(":focus-visible") && !tip.hidden;
    const at = pinned ?? (focused ? document.activeElement : null);
    if (at) explain(at);
    else tip.hidden = true;
  },
  { passive: true },
);
