// One prompt under several arms, all streamed at once. A browser opens six connections to a server, so there are six lanes.
const LANES = 6;
const lanes = [];
let racing = 0;

function lane(value) {
  const holder = make("div", { className: "picker" }),
    one = { answer: null };
  one.drop = make("button", { type: "button", className: "quiet", title: "Remove this arm", onclick: () => remove(one) }, "✕");
  one.picker = new Picker(holder, `Arm ${lanes.length + 1}`, value);
  one.body = make("div", { className: "said" });
  one.element = make("div", { className: "lane" }, make("div", { className: "bar" }, holder, one.drop), one.body);
  lanes.push(one);
  byId("lanes").append(one.element);
  number();
  return one;
}

function remove(one) {
  const at = lanes.indexOf(one);
  one.stopper?.abort();
  one.picker.remove();
  one.element.remove();
  lanes.splice(at, 1);
  number();
  (lanes[Math.min(at, lanes.length - 1)]?.picker.select ?? byId("more")).focus();
}

function number() {
  lanes.forEach((one, at) => {
    one.element.querySelector("label").textContent = `Arm ${at + 1}`;
    one.drop.ariaLabel = `Remove arm ${at + 1}`;
  });
  byId("more").disabled = lanes.length >= LANES;
  byId("more").title = lanes.length >= LANES ? `Six arms at most: a browser opens no more connections to a server.` : "";
}

async function race(one, prompt) {
  one.stopper = new AbortController();
  racing++;
  lights();
  await one.answer.write([{ role: "user", content: prompt }], one.stopper.signal);
  racing--;
  lights();
}

function lights() {
  byId("run").disabled = racing > 0;
  byId("halt").disabled = racing === 0;
}

async function run(prompt) {
  unpin();
  announce(`${lanes.length} arms answer.`);
  await Promise.all(
    lanes.map(one => {
      one.answer = new Answer(one.picker.arm, () => race(one, prompt));
      one.body.replaceChildren(one.answer.element);
      return race(one, prompt);
    }),
  );
  announce(
    `All have answered. ${lanes.map(({ answer }) => answer && `${answer.arm.label}: ${shorten(answer.written, 1000) || "nothing"}`).join(". ")}`,
  );
}

byId("race").addEventListener("submit", event => {
  event.preventDefault();
  const text = byId("prompt").value;
  if (racing || !text.trim() || !lanes.length) return byId("prompt").focus();
  run(text);
});
byId("halt").addEventListener("click", () => lanes.forEach(one => one.stopper?.abort()));
byId("more").addEventListener("click", () => lane("=base").picker.select.focus());
