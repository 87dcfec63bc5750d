// What the server has, and the look of each expert: its hue and its line, the same everywhere on the page.
const served = { base: "base", experts: [], arms: [], methods: [], similarity: null };
const whole = () => served.experts.filter(expert => !expert.error); // the others cannot be asked
const places = new Map();

function look(name) {
  if (!places.has(name)) places.set(name, places.size);
  const place = places.get(name);
  return `c${place % 10} u${(place + Math.floor(place / 10)) % 5}`;
}

const swatch = name => make("i", { className: `swatch ${look(name)}`, ariaHidden: "true" }, "\u00a0".repeat(4));
const named = name => make("span", { className: "named" }, swatch(name), make("bdi", {}, name));

// A name as the spec of an arm has it (yosegi/spec.py).
const PLAIN = /^(?:[\p{L}_]|[\p{L}\p{N}_.\/@~%-][\p{L}\p{N}_.\/@~% -]*[\p{L}\p{N}_.\/@~%-])$/u;
const quote = name => (PLAIN.test(name) ? name : JSON.stringify(name));
