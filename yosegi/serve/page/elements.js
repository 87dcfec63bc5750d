// Elements are made of text and properties, never of HTML: what a model writes and what an expert is called stays text.
const byId = id => document.getElementById(id);

function make(tag, given = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

function draw(tag, given = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(given)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// A row of a table; its first cell names it.
function row(cells, head = false) {
  const [first, ...rest] = cells;
  const cell = value => (value instanceof Node ? value : make(head ? "th" : "td", head ? { scope: "col" } : {}, value));
  return make("tr", {}, make("th", { scope: head ? "col" : "row" }, first), ...rest.map(cell));
}

const percent = share => `${Math.round(100 * share)} %`;
const count = number => number.toLocaleString("en");
const digits = number => (Number.isInteger(number) ? count(number) : String(Number(number.toPrecision(3))));
const shorten = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

// Screen readers hear an answer once, whole, and not token by token.
function announce(text) {
  byId("live").textContent = text;
}

// Of many things in a row one is a stop of the Tab key, and the arrow keys walk over the others.
function walk(event, things) {
  const at = things.indexOf(event.target),
    last = things.length - 1;
  const to = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: last }[event.key];
  if (at < 0 || to === undefined || event.altKey || event.ctrlKey || event.metaKey) return null;
  event.preventDefault();
  return things[Math.max(0, Math.min(last, to))];
}
