// The library: how alike its experts are as a map, and what their cards say.
let shown = null;
const planes = new WeakMap();

// A plane of which the distances are near √(2 - 2 cos), and by how much they are wrong: the relative root mean square.
function plane(cosines) {
  if (planes.has(cosines)) return planes.get(cosines);
  const wanted = cosines.map(line => line.map(cosine => Math.sqrt(2 - 2 * Math.max(-1, Math.min(1, cosine)))));
  let points = classical(wanted);
  // Classical scaling alone lays experts upon each other that have nothing in common, as most have: SMACOF moves them apart.
  const between = (i, j) => Math.sqrt((points[i][0] - points[j][0]) ** 2 + (points[i][1] - points[j][1]) ** 2);
  for (let step = 0; step < 200; step++) {
    points = points.map((point, i) =>
      [0, 1].map(
        axis =>
          points.reduce(
            (sum, other, j) => sum + (i === j ? 0 : (wanted[i][j] / (between(i, j) || 1e-9)) * (point[axis] - other[axis])),
            0,
          ) / points.length,
      ),
    );
  }
  let wrong = 0,
    all = 0;
  wanted.forEach((line, i) =>
    line.forEach((distance, j) => {
      wrong += (between(i, j) - distance) ** 2;
      all += distance ** 2;
    }),
  );
  planes.set(cosines, { points, wrong: all ? Math.sqrt(wrong / all) : 0 });
  return planes.get(cosines);
}

// The start: the projection of classical scaling, with no two points on the same spot.
function classical(distances) {
  const n = distances.length,
    squared = distances.map(line => line.map(distance => distance ** 2));
  const means = squared.map(line => line.reduce((a, b) => a + b, 0) / n),
    mean = means.reduce((a, b) => a + b, 0) / n;
  const gram = squared.map((line, i) => line.map((d, j) => (means[i] + means[j] - mean - d) / 2));
  const times = v => gram.map(line => line.reduce((sum, g, j) => sum + g * v[j], 0));
  const inner = (a, b) => a.reduce((sum, x, i) => sum + x * b[i], 0);
  const axes = [];
  for (let axis = 0; axis < 2; axis++) {
    let vector = gram.map((_, i) => Math.sin(1 + (axis + 1) * (i + 1))),
      length = 0;
    for (let step = 0; step < 300; step++) {
      for (const { direction } of axes) {
        const along = inner(vector, direction);
        vector = vector.map((x, i) => x - along * direction[i]);
      }
      const next = times(vector);
      length = Math.sqrt(inner(next, next));
      if (length < 1e-12) break;
      vector = next.map(x => x / length);
    }
    if (length < 1e-12) vector = vector.map(() => 0);
    const sign = Math.sign(vector.reduce((most, x) => (Math.abs(x) > Math.abs(most) + 1e-9 ? x : most), 0)) || 1;
    axes.push({ direction: vector.map(x => sign * x), length });
  }
  return gram.map((_, i) => axes.map(({ direction, length }, axis) => direction[i] * Math.sqrt(length) + 0.01 * Math.sin((axis + 2) * i)));
}

// What a card says was measured: scores first, then how much was trained; not what it took.
const SCORE = /loss|acc|score|exact|match|f1|rouge|mrr|reward|perplexity|logp/i,
  COST = /bytes|_mb$|_s$|params|fleet|precision|rows/;
const scores = metrics =>
  Object.entries(metrics ?? {})
    .filter(([name]) => !COST.test(name))
    .sort(([a], [b]) => SCORE.test(b) - SCORE.test(a))
    .map(([name, value]) => [name, typeof value === "number" ? digits(value) : typeof value === "string" ? value : JSON.stringify(value)]);

// Those that have a place on the map.
const placed = () => (served.similarity?.length === served.experts.length ? served.experts : whole());

// The other experts by their similarity to one.
function alike(expert) {
  const line = served.similarity?.[placed().indexOf(expert)];
  return line
    ? placed()
        .map((other, i) => ({ name: other.name, i, cosine: line[i] }))
        .filter(({ i }) => placed()[i] !== expert)
        .sort((a, b) => b.cosine - a.cosine)
    : [];
}

function describe(expert) {
  const near = alike(expert).slice(0, 3);
  const fact = (word, ...value) => make("div", {}, make("dt", {}, word), make("dd", {}, ...value));
  shown = expert.name;
  byId("card").replaceChildren(
    make("h3", {}, named(expert.name)),
    ...(expert.error ? [make("p", { className: "trouble" }, expert.error)] : []),
    make(
      "dl",
      {},
      fact("rank", `${expert.rank ?? "?"}, alpha ${expert.alpha ?? "?"}`),
      fact("parameters", expert.parameters ? count(expert.parameters) : "?"),
      fact("tasks", (expert.tasks ?? []).join(", ") || "not said"),
      ...scores(expert.metrics)
        .slice(0, 12)
        .map(([name, value]) => fact(name, value)),
      ...(near.length
        ? [fact("most alike", make("ul", {}, ...near.map(({ name, cosine }) => make("li", {}, named(name), ` ${cosine.toFixed(2)}`))))]
        : []),
    ),
    ...(expert.error ? [] : [make("button", { type: "button", onclick: () => consult(quote(expert.name)) }, "Ask it")]),
  );
  for (const node of byId("map").querySelectorAll(".node")) node.classList.toggle("on", placed()[node.dataset.at] === expert);
}

// Opens the chat with an arm.
function consult(spec) {
  picker.value = `=${spec}`;
  visit("chat");
  byId("question").focus();
}

function chart() {
  const holder = byId("map"),
    experts = placed(),
    n = experts.length,
    wide = holder.clientWidth;
  if (!wide || !n) return;
  const told = served.similarity && n > 1,
    { points, wrong } = told
      ? plane(served.similarity)
      : { points: experts.map((_, i) => [Math.cos((i / n) * 6.2832), Math.sin((i / n) * 6.2832)]), wrong: 0 };
  const tall = Math.round(Math.min(460, Math.max(280, wide * 0.6))),
    most = Math.max(...experts.map(e => e.parameters || 1));
  const size = expert => Math.min(1, Math.sqrt(30 / n)) * (7 + 13 * Math.sqrt((expert.parameters || 0) / most)); // many are drawn smaller
  const ends = [0, 1].map(axis => [Math.min(...points.map(p => p[axis])), Math.max(...points.map(p => p[axis]))]);
  const scale = Math.min(...ends.map(([low, high], axis) => [wide - 150, tall - 90][axis] / Math.max(high - low, 1e-6)));
  const spots = points.map(p =>
    p.map((v, axis) => [wide, tall][axis] / 2 + (n > 1 ? (v - (ends[axis][0] + ends[axis][1]) / 2) * scale : 0)),
  );
  const picture = draw("svg", {
    width: wide,
    height: tall,
    role: "group",
    "aria-label": "Map of the experts; the arrow keys walk over them. The table below says the same.",
  });
  if (told)
    experts.forEach((expert, i) => {
      const near = alike(expert)[0];
      if (near.cosine > 0.05)
        picture.append(
          draw("line", {
            class: "bond",
            x1: spots[i][0],
            y1: spots[i][1],
            x2: spots[near.i][0],
            y2: spots[near.i][1],
            "stroke-width": (1 + 4 * near.cosine).toFixed(1),
            "stroke-opacity": (0.25 + 0.6 * near.cosine).toFixed(2),
          }),
        );
    });
  const taken = spots.map(([x, y], i) => {
    const r = size(experts[i]);
    return [x - r, y - r, x + r, y + r];
  });
  const labels = draw("g", { "aria-hidden": "true" });
  experts.forEach((expert, i) => {
    const [x, y] = spots[i],
      r = size(expert);
    const node = draw(
      "g",
      {
        class: `node ${look(expert.name)}`,
        role: "button",
        tabindex: i ? -1 : 0,
        "data-at": i,
        "aria-label": `${expert.name}: rank ${expert.rank ?? "unknown"}, ${expert.parameters ? count(expert.parameters) : "unknown"} parameters`,
      },
      draw("circle", { cx: x, cy: y, r: r + 4, class: "halo" }),
      draw("circle", { cx: x, cy: y, r, class: "disc" }),
    );
    for (const event of ["pointerenter", "focus", "click"]) node.addEventListener(event, () => describe(expert));
    picture.append(node);
    const name = shorten(expert.name, 24),
      long = [...name].reduce((sum, c) => sum + (c.charCodeAt(0) > 0x2e80 ? 13 : 7.2), 0);
    const sides = [
      [x + r + 6, y + 4, "start"],
      [x - r - 6, y + 4, "end"],
      [x, y - r - 7, "middle"],
      [x, y + r + 16, "middle"],
    ];
    for (const [tx, ty, anchor] of sides) {
      const left = tx - { start: 0, middle: long / 2, end: long }[anchor],
        box = [left, ty - 12, left + long, ty + 4];
      if (
        box[0] < 2 ||
        box[2] > wide - 2 ||
        taken.some((t, j) => j !== i && box[0] < t[2] && box[2] > t[0] && box[1] < t[3] && box[3] > t[1])
      )
        continue;
      taken.push(box);
      labels.append(draw("text", { x: tx, y: ty, "text-anchor": anchor }, name));
      break;
    }
  });
  picture.append(labels);
  picture.addEventListener("keydown", event => {
    const nodes = [...picture.querySelectorAll(".node")],
      to = walk(event, nodes);
    if (event.key === "Enter" || event.key === " ") return (event.preventDefault(), consult(quote(experts[event.target.dataset.at].name)));
    if (!to) return;
    nodes.forEach(node => node.setAttribute("tabindex", node === to ? 0 : -1));
    to.focus();
  });
  holder.replaceChildren(picture);
  const closest = told ? Math.max(...experts.map(expert => alike(expert)[0].cosine)) : 0;
  byId("key").textContent = told
    ? `Near is alike: distances are √(2 − 2 cos) between deltas, ${percent(wrong)} off in a plane (root mean square); the most similar two ` +
      `have a cosine of ${closest.toFixed(2)}. A larger disc has more parameters; a line goes to the most similar expert, thicker the more alike.`
    : "How alike they are is not known here, so their places mean nothing. A larger disc has more parameters.";
}

function tables() {
  const { experts, arms, similarity } = served;
  const button = spec =>
    make("td", {}, make("button", { type: "button", className: "quiet", ariaLabel: `Ask ${spec}`, onclick: () => consult(spec) }, "Ask"));
  const right = text => make("td", { className: "n" }, text);
  byId("experts").replaceChildren(
    make("thead", {}, row(["Expert", "Tasks", "Rank", "Alpha", "Parameters", "Measured", "Most alike", "Chat"], true)),
    make(
      "tbody",
      {},
      ...experts.map(expert => {
        const near = alike(expert)[0];
        return row([
          named(expert.name),
          expert.error ? make("td", { className: "bad" }, expert.error) : (expert.tasks ?? []).join(", ") || "–",
          right(String(expert.rank ?? "–")),
          right(String(expert.alpha ?? "–")),
          right(expert.parameters ? count(expert.parameters) : "–"),
          scores(expert.metrics)
            .slice(0, 4)
            .map(one => one.join(" "))
            .join(", ") || "–",
          near ? make("td", {}, named(near.name), ` ${near.cosine.toFixed(2)}`) : "–",
          expert.error ? "–" : button(quote(expert.name)),
        ]);
      }),
    ),
  );
  byId("alike").closest("details").hidden = !similarity || similarity.length < 2;
  if (similarity)
    byId("alike").replaceChildren(
      make("thead", {}, row(["Expert", ...placed().map(({ name }) => make("th", { scope: "col", className: "n" }, named(name)))], true)),
      make(
        "tbody",
        {},
        ...placed().map(({ name }, i) =>
          row([
            named(name),
            ...similarity[i].map((cosine, j) => {
              const cell = make("td", { className: `n${i === j ? " self" : cosine < 0 ? " down" : ""}` }, cosine.toFixed(2));
              cell.style.setProperty("--d", Math.abs(cosine).toFixed(2));
              return cell;
            }),
          ]),
        ),
      ),
    );
  byId("kept").hidden = !arms.length;
  byId("arms").replaceChildren(
    make("thead", {}, row(["Arm", "Router or merge", "Experts", "Chat"], true)),
    make(
      "tbody",
      {},
      ...arms.map(arm =>
        row([
          make("bdi", {}, arm.name),
          arm.router ?? "–",
          make("td", {}, ...(arm.experts ?? []).flatMap(name => [named(name), " "])),
          button(quote(arm.name)),
        ]),
      ),
    ),
  );
}

function atlas() {
  byId("empty").hidden = Boolean(served.experts.length);
  byId("shelf").hidden = !served.experts.length;
  if (!served.experts.length) return;
  tables();
  chart();
  describe(served.experts.find(({ name }) => name === shown) ?? served.experts[0]);
}

new ResizeObserver(() => byId("view-library").hidden || chart()).observe(byId("map"));
