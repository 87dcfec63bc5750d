// The views, and what is read from the server when the page opens and whenever the library is looked at.
const views = ["chat", "compare", "library"];
const asked = () => location.hash.replace(/^#\//, "");

function visit(view) {
  unpin();
  for (const name of views) {
    const tab = byId(`tab-${name}`);
    byId(`view-${name}`).hidden = name !== view;
    tab.ariaSelected = String(name === view);
    tab.tabIndex = name === view ? 0 : -1;
  }
  document.body.dataset.view = view;
  if (asked() !== view) history.replaceState(null, "", `#/${view}`);
  if (view === "library") (atlas(), read());
}

async function read() {
  try {
    const library = await (await ask("v1/library")).json(),
      again = served.context !== undefined;
    Object.assign(served, library);
    served.experts.forEach(({ name }) => look(name));
    byId("trouble").hidden = true;
    byId("base").textContent = served.base;
    document.title = `${served.base} · yosegi playground`;
    byId("deep").disabled = whole().length > MANY;
    if (!again) {
      byId("plain").checked = !served.chat;
      byId("most").max = served.context ?? "";
      byId("most").value = Math.min(128, Math.floor((served.context ?? 256) / 2));
    }
    const plural = (n, word) => `${count(n)} ${word}${n === 1 ? "" : "s"}`;
    byId("about").textContent = [
      plural(served.experts.length, "expert"),
      ...(served.arms.length ? [plural(served.arms.length, "kept arm")] : []),
    ].join(" · ");
    for (const one of pickers) one.fill();
    sliders();
    if (!lanes.length) first();
    if (!byId("view-library").hidden) atlas();
  } catch (error) {
    byId("trouble").textContent = error.message;
    byId("trouble").hidden = false;
  }
}

// What stands side by side at first: the base, an expert, a router, a merge. Of these the router answers in the chat.
function first() {
  const names = whole().map(({ name }) => quote(name));
  const methods = names.length > 1 ? ["arrow", "merge:ties"].filter(method => served.methods.includes(method)) : [];
  for (const spec of ["base", ...names.slice(0, 1), ...methods]) lane(`=${spec}`);
  if (methods.includes("arrow")) picker.value = "=arrow";
}

for (const name of views) byId(`tab-${name}`).addEventListener("click", () => visit(name));
document.querySelector("[role=tablist]").addEventListener("keydown", event => {
  const to = walk(
    event,
    views.map(name => byId(`tab-${name}`)),
  );
  if (!to) return;
  to.focus();
  to.click();
});
for (const [box, form] of [
  ["question", "ask"],
  ["prompt", "race"],
])
  byId(box).addEventListener("keydown", event => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return; // 229: Enter chooses a character
    event.preventDefault();
    byId(form).requestSubmit();
  });
document.addEventListener("keydown", event => {
  if (event.key !== "Escape" || event.defaultPrevented || byId("door").open) return;
  if (pinned) return unpin();
  if (!byId("view-chat").hidden) speaking?.abort();
  if (!byId("view-compare").hidden) byId("halt").click();
});
byId("use").addEventListener("click", () => {
  if (byId("view-compare").hidden) {
    picker.value = WEIGHTS;
    return byId("question").focus();
  }
  const free = lanes.find(one => one.picker.value === WEIGHTS) ?? (lanes.length < LANES ? lane(WEIGHTS) : lanes.at(-1));
  free.picker.value = WEIGHTS;
  byId("prompt").focus();
});
byId("zero").addEventListener("click", () => {
  for (const name of weights.keys()) weights.set(name, 0);
  sliders();
});
byId("copy").addEventListener("click", async () => {
  const text = byId("spec").textContent;
  try {
    await navigator.clipboard.writeText(text);
    byId("copy").textContent = "Copied";
  } catch {
    // not allowed here: it is selected, to be copied by hand
    getSelection().selectAllChildren(byId("spec"));
    byId("copy").textContent = "Selected";
  }
  announce(`${byId("copy").textContent}: ${text}`);
  setTimeout(() => (byId("copy").textContent = "Copy"), 1500);
});
byId("lock").addEventListener("click", async () => {
  if (await enter(false)) read();
});
byId("away").addEventListener("click", () => byId("door").close(""));
byId("door")
  .querySelector("form")
  .addEventListener("submit", event => {
    event.preventDefault();
    byId("door").close("use");
  });
addEventListener("hashchange", () => views.includes(asked()) && visit(asked()));

byId("settings").open = byId("mixer").open = matchMedia("(min-width: 62rem)").matches;
byId("lock").hidden = !sessionStorage.getItem(KEY);
visit(views.includes(asked()) ? asked() : "chat");
if (byId("view-library").hidden) read();
