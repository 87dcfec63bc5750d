// What the pointer shows, and what tables and folds can do. Text goes in as text, never as HTML.
const tip = document.getElementById("tip"), read = {};
const kinds = { k: "✓ kept", g: "✓ gained", l: "✗ lost", w: "✗ wrong", "-": "not asked" };
const data = id => read[id] ??= JSON.parse(document.getElementById(id).textContent);

function make(tag, text, kind) {
  const element = document.createElement(tag);
  element.textContent = text;
  if (kind) element.className = kind;
  return element;
}

function place(svg, event, columns, rows) {
  const box = svg.getBoundingClientRect(), at = (v, n) => Math.max(0, Math.min(n - 1, Math.floor(v * n)));
  return [at((event.clientX - box.left) / box.width, columns), at((event.clientY - box.top) / box.height, rows)];
}

function show(event, parts) {
  tip.replaceChildren(...parts);
  tip.hidden = false;
  const x = Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8);
  const below = event.clientY + 18, y = below + tip.offsetHeight > innerHeight ? event.clientY - tip.offsetHeight - 14 : below;
  tip.style.left = Math.max(8, x) + "px";
  tip.style.top = Math.max(8, y) + "px";
}

const answer = (item, i) => {
  const text = item[4][i];
  return text === -1 ? item[2] : typeof text === "number" ? item[4][text] : text;
};

// A line of choices has the expert of every token, or one for all of them.
function expertOf(svg, line, x) {
  const numbers = line.split(" "), expert = Number((numbers.length > 1 ? numbers[x] : numbers[0]) || -1);
  return expert < 0 ? "none stands out" : data(svg.dataset.names)[expert];
}

for (const svg of document.querySelectorAll("svg[data-grid]")) {
  svg.addEventListener("pointermove", event => {
    const { rows, columns, values, chosen } = data(svg.dataset.grid);
    const [x, y] = place(svg, event, columns.length, rows.length);
    show(event, [make("b", chosen ? expertOf(svg, chosen[y], x) : values[y][x]?.toFixed(3) ?? "–"), make("p", columns[x] + "\n" + rows[y])]);
  });
  svg.addEventListener("pointerleave", () => (tip.hidden = true));
}

for (const svg of document.querySelectorAll("svg[data-questions]")) {
  const row = Number(svg.dataset.row), key = svg.dataset.questions;
  const find = event => {
    const all = data(key);
    return all && [all, all.items[place(svg, event, all.items.length, 1)[0]]];
  };
  svg.addEventListener("pointermove", event => {
    const found = find(event);
    if (!found) return;
    const [all, item] = found, kind = item[3][row];
    show(event, [
      make("b", all.models[row] + "  " + kinds[kind]), make("p", item[1]), make("p", "target  " + item[2]),
      make("p", "answer  " + (answer(item, row) || "(nothing)")), make("small", item[0]),
    ]);
  });
  svg.addEventListener("pointerleave", () => (tip.hidden = true));
  svg.addEventListener("click", event => {
    const found = find(event);
    if (!found) return;
    const [all, item] = found, card = document.getElementById(key + "-card"), table = document.createElement("table");
    all.models.forEach((model, i) => {
      if (item[3][i] === "-") return;
      const line = table.insertRow();
      line.append(make("th", model), make("td", kinds[item[3][i]], "tick " + item[3][i]));
      line.append(make("td", answer(item, i) || "(nothing)", "answer"));
    });
    card.replaceChildren(make("small", item[0]), make("blockquote", item[1]), make("p", "target  " + item[2], "target"), table);
    card.hidden = false;
  });
}

// A plot of lines: where the pointer is, the value of the lines nearest to it. Places are per cent of the picture.
const NEAREST = 10;
const points = path => [...path.getAttribute("d").matchAll(/[ML]([-\d.e]+) ([-\d.e]+)/g)].map(([, x, y]) => [Number(x), Number(y)]);
const digits = value => Number(value.toPrecision(3)).toLocaleString("en", { maximumSignificantDigits: 3 });

for (const svg of document.querySelectorAll("svg[data-scales]")) {
  const [left, right, low, high, isLog] = svg.dataset.scales.split(" ").map(Number), cursor = make("i", "", "cursor");
  const valueAt = y => (y = low + (high - low) * (1 - y / 100), isLog ? Math.exp(y) : y);
  const across = x => Number((left + (right - left) * x / 100).toFixed(Math.min(9, Math.max(0, Math.ceil(3 - Math.log10(right - left)))))).toLocaleString("en");
  let lines;
  svg.after(cursor);
  cursor.hidden = true;
  svg.addEventListener("pointermove", event => {
    lines ??= [...svg.querySelectorAll("[data-name]")].map(path => ({ colour: path.classList, name: path.dataset.name, points: points(path) }));
    const box = svg.getBoundingClientRect(), far = p => Math.abs(p[0] - x);
    const x = 100 * (event.clientX - box.left) / box.width, y = 100 * (event.clientY - box.top) / box.height;
    let found = lines.map(line => ({ ...line, at: line.points.reduce((a, b) => (far(b) < far(a) ? b : a)) }));
    const nearest = Math.min(...found.map(line => far(line.at)));
    found = found.filter(line => far(line.at) <= nearest + 1).sort((a, b) => Math.abs(a.at[1] - y) - Math.abs(b.at[1] - y));
    const dots = new Set(found.filter(line => line.colour.contains("dot")).map(line => line.name.split("\n")[0]));
    found = found.filter(line => line.colour.contains("dot") || !dots.has(line.name)).slice(0, NEAREST).sort((a, b) => a.at[1] - b.at[1]);
    if (!found.length) return;
    cursor.style.left = found[0].at[0] + "%";
    cursor.hidden = false;
    const rows = found.map(line => {
      const row = make("p", ""), words = line.name.includes("\n") ? line.name.replace("\n", ", ") : line.name + " " + digits(valueAt(line.at[1]));
      row.append(make("span", "", "sq " + [...line.colour].find(c => /^c\d$|^ink$/.test(c))), words);
      return row;
    });
    show(event, [make("b", svg.dataset.x + " " + across(found[0].at[0])), ...rows]);
  });
  svg.addEventListener("pointerleave", () => (tip.hidden = cursor.hidden = true));
}

// Tables: a click on a head sorts (the second click the other way, the third as it was), words filter, buttons copy what is left.
const words = cell => cell.textContent.replace(/\s+/g, " ").trim();

function keyOf(cell) {
  const text = cell?.dataset.value ?? (cell ? words(cell) : ""), value = Number(text.replace("−", "-").replaceAll(",", ""));
  return text === "" || text === "–" ? null : Number.isNaN(value) ? text : value;
}

function compare(a, b, sign) {
  if (a === null || b === null) return (a === null) - (b === null);  // what is not known stands last
  return sign * (typeof a === typeof b && typeof a === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true }));
}

const FORMATS = {
  Markdown: (heads, rows, isNumber) => {
    const line = cells => "| " + cells.map(cell => (cell.best ? `**${cell.text}**` : cell.text).replaceAll("|", "\\|")).join(" | ") + " |";
    return [line(heads), "|" + isNumber.map(number => (number ? "---:|" : "---|")).join(""), ...rows.map(line)].join("\n");
  },
  LaTeX: (heads, rows, isNumber) => {
    const marks = { "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "−": "$-$", "≈": "$\\approx$", "±": "$\\pm$", "–": "--" };
    const safe = text => text.replace(/[\\~^−≈±–]|[&%$#_{}]/g, letter => marks[letter] ?? "\\" + letter);
    const line = cells => cells.map(cell => (cell.best ? `\\textbf{${safe(cell.text)}}` : safe(cell.text))).join(" & ") + " \\\\";
    const columns = isNumber.map(number => (number ? "r" : "l")).join("");
    return [`\\begin{tabular}{${columns}}`, "\\toprule", line(heads), "\\midrule", ...rows.map(line), "\\bottomrule", "\\end{tabular}"].join("\n");
  },
  CSV: (heads, rows) => [heads, ...rows].map(cells => cells.map(({ text, exact = text }) =>
    /[",\n]/.test(exact) ? `"${exact.replaceAll('"', '""')}"` : exact).join(",")).join("\n"),
};

async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = make("textarea", text);  // a page that is served without TLS
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

for (const table of document.querySelectorAll(".wide > table:not(.rows)")) {
  const body = table.tBodies[0], rows = [...body?.rows ?? []], heads = [...table.tHead?.rows[0].cells ?? []];
  if (rows.length < 2 || !heads.length) continue;
  const tools = make("div", "", "tools"), said = make("output", ""), isPlain = !body.querySelector(".group");
  const isNumber = heads.map((_, i) => rows.some(row => typeof keyOf(row.cells[i] ?? heads[i]) === "number"));
  if (isPlain) heads.forEach((head, column) => {
    if (head.matches(".track") || !words(head)) return;
    const button = make("button", "", "sort");
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const [first, second] = isNumber[column] ? ["descending", "ascending"] : ["ascending", "descending"];
      const next = { [first]: second, [second]: null }, was = head.getAttribute("aria-sort"), order = was ? next[was] : first;
      heads.forEach(other => other.removeAttribute("aria-sort"));
      if (order) head.setAttribute("aria-sort", order);
      const sign = order === "descending" ? -1 : 1;
      body.append(...(order ? [...rows].sort((a, b) => compare(keyOf(a.cells[column]), keyOf(b.cells[column]), sign)) : rows));
    });
  });
  if (isPlain && rows.length > 7) {
    const filter = make("input", "");
    Object.assign(filter, { type: "search", placeholder: "Filter rows", ariaLabel: "Filter rows" });
    filter.addEventListener("input", () => {
      const wanted = filter.value.toLowerCase().split(/\s+/);
      rows.forEach(row => (row.hidden = !wanted.every(word => words(row).toLowerCase().includes(word))));
      said.textContent = filter.value ? `${rows.filter(row => !row.hidden).length} of ${rows.length}` : "";
    });
    tools.append(filter);
  }
  tools.append(said);
  for (const [format, write] of Object.entries(FORMATS)) {
    const button = make("button", format);
    button.ariaLabel = button.title = `Copy as ${format}`;
    button.addEventListener("click", async () => {
      const columns = heads.map((_, i) => i).filter(i => !heads[i].matches(".track"));
      const cell = (from, best) => ({ text: from ? words(from) : "", exact: from?.dataset.value, best: best && from?.matches(".best") });
      const lines = [...body.rows].filter(row => !row.hidden && !row.matches(".group")).map(row => columns.map(i => cell(row.cells[i], true)));
      await copy(write(columns.map(i => cell(heads[i])), lines, columns.map(i => isNumber[i])));
      said.textContent = `${lines.length} rows copied`;
    });
    tools.append(button);
  }
  table.parentElement.before(tools);
}

// Folds: all at once, those that a link leads into, and everything for the printer.
const folds = [...document.querySelectorAll("details")], all = document.getElementById("all");
let wereOpen = null;
if (all) all.hidden = false;
all?.addEventListener("click", () => {
  const open = all.textContent === "Open all";
  folds.forEach(fold => (fold.open = open));
  all.textContent = open ? "Close all" : "Open all";
});
const arrive = () => document.getElementById(location.hash.slice(1))?.querySelector(":scope > details")?.setAttribute("open", "");
addEventListener("hashchange", arrive);
arrive();
addEventListener("beforeprint", () => {
  wereOpen = folds.map(fold => fold.open);
  folds.forEach(fold => (fold.open = true));
});
addEventListener("afterprint", () => folds.forEach((fold, i) => (fold.open = wereOpen[i])));
