// What the pointer shows. Text goes in as text, never as HTML.
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
