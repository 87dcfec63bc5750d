// Which arm answers: chosen from what the server has, written as a spec, or the weights of the sliders.
const WEIGHTS = "weights",
  WRITTEN = "written";
const pickers = new Set();
const weights = new Map();

// The arm of the sliders, as it is asked for and as a spec.
function mixture() {
  const given = [...weights].filter(([name, weight]) => weight && whole().some(expert => expert.name === name));
  const label = given.map(([name, weight]) => `${quote(name)}*${weight}`).join("+") || "base";
  return given.length ? { model: "base", experts: Object.fromEntries(given), label } : { model: "base", label };
}

class Picker {
  constructor(holder, word, value) {
    const id = `arm-${(Picker.made = (Picker.made ?? 0) + 1)}`;
    this.select = make("select", { id });
    this.spec = make("input", {
      type: "text",
      ariaLabel: `Spec of ${word}`,
      placeholder: "such as arrow{top_k=2}(a,b)",
      spellcheck: false,
      autocomplete: "off",
      hidden: true,
    });
    this.select.addEventListener("change", () => this.show(true));
    holder.append(make("label", { htmlFor: id }, word), this.select, this.spec);
    this.fill();
    this.value = value;
    pickers.add(this);
  }

  fill() {
    const value = this.value,
      option = (spec, text = spec) => make("option", { value: `=${spec}` }, text);
    const group = (label, options) => (options.length ? [make("optgroup", { label }, ...options)] : []);
    const merges = served.methods.filter(method => method.startsWith("merge:")),
      routers = served.methods.filter(method => !merges.includes(method));
    this.select.replaceChildren(
      option("base", served.base === "base" ? "base" : `base (${served.base})`),
      ...group(
        "Experts",
        whole().map(({ name }) => option(quote(name), name)),
      ),
      ...group(
        "Kept arms",
        served.arms.map(({ name }) => option(quote(name), name)),
      ),
      ...(whole().length > 1
        ? [
            ...group(
              "Routers over all experts",
              routers.map(spec => option(spec)),
            ),
            ...group(
              "Merges of all experts",
              merges.map(spec => option(spec)),
            ),
          ]
        : []),
      ...group("Your own", [
        ...(whole().length ? [make("option", { value: WEIGHTS }, "weights of the sliders")] : []),
        make("option", { value: WRITTEN }, "a spec…"),
      ]),
    );
    if (value) this.value = value;
  }

  // "=SPEC", or WEIGHTS; a spec that is not in the list is written out.
  get value() {
    return this.select.value === WRITTEN ? `=${this.spec.value.trim() || "base"}` : this.select.value;
  }

  set value(value) {
    this.select.value = value;
    if (this.select.selectedIndex < 0) {
      this.select.value = WRITTEN;
      this.spec.value = value.slice(1);
    }
    this.show(false);
  }

  get arm() {
    if (this.value === WEIGHTS) return mixture();
    const model = this.value.slice(1);
    return { model, label: model };
  }

  show(focus) {
    this.spec.hidden = this.select.value !== WRITTEN;
    if (focus && !this.spec.hidden) this.spec.focus();
    if (focus && this.select.value === WEIGHTS) byId("mixer").open = true;
  }

  remove() {
    pickers.delete(this);
  }
}

function slider(name) {
  const place = [...weights.keys()].indexOf(name);
  const range = make("input", { type: "range", id: `weight-${place}`, min: "-1", max: "2", step: "0.05" });
  const exact = make("input", { type: "number", step: "0.05", ariaLabel: `Weight of ${name}, exactly` });
  const show = () => {
    range.value = exact.value = weights.get(name);
    byId("spec").textContent = mixture().label;
  };
  const take = event => {
    if (Number.isNaN(event.target.valueAsNumber)) return;
    weights.set(name, event.target.valueAsNumber);
    if (event.target === range) exact.value = range.value;
    else range.value = exact.value;
    byId("spec").textContent = mixture().label;
  };
  range.addEventListener("input", take);
  exact.addEventListener("input", take);
  exact.addEventListener("blur", show);
  show();
  return make("div", { className: "slider" }, make("label", { htmlFor: range.id }, named(name)), range, exact);
}

function sliders() {
  for (const { name } of whole()) if (!weights.has(name)) weights.set(name, 0);
  byId("sliders").replaceChildren(...whole().map(({ name }) => slider(name)));
  byId("spec").textContent = mixture().label;
  byId("mixer").hidden = !whole().length;
}
