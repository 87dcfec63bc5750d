// What is asked of the server, and how it says no.
const KEY = "yosegi key";
const MANY = 32; // of more experts, the weights in every layer would be megabytes a sentence

class Refused extends Error {
  constructor(message, status = 0, wait = 0) {
    super(message);
    this.status = status;
    this.wait = wait;
  }
}

let entering = null;

// Asks for the key, once for all requests that wait for it. Returns whether there is one to try.
function enter(wrong) {
  entering ??= new Promise(resolve => {
    const door = byId("door");
    byId("door-why").textContent = (wrong ? "That key was not taken. " : "") + "It stays in this tab and is forgotten when you close it.";
    byId("secret").value = "";
    door.onclose = () => {
      entering = null;
      const secret = door.returnValue === "use" ? byId("secret").value.trim() : "";
      byId("secret").value = "";
      if (secret) sessionStorage.setItem(KEY, secret);
      byId("lock").hidden = false;
      resolve(Boolean(secret));
    };
    door.returnValue = "";
    door.showModal();
  });
  return entering;
}

async function ask(path, body, signal) {
  const key = sessionStorage.getItem(KEY),
    headers = {};
  if (body) headers["Content-Type"] = "application/json";
  if (key) headers.Authorization = `Bearer ${key}`;
  let response;
  try {
    response = await fetch(path, { method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body), signal, cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused("The server does not answer. Is it still running?");
  }
  if (response.status === 401) {
    const changed = key !== sessionStorage.getItem(KEY);
    if (!changed) sessionStorage.removeItem(KEY);
    if (changed || (await enter(Boolean(key)))) return ask(path, body, signal);
  }
  if (response.ok) return response;
  let message = `The server answered ${response.status}.`;
  try {
    message = String((await response.json()).error.message);
  } catch {
    /* not one of ours: the status has to do */
  }
  throw new Refused(message, response.status, Number(response.headers.get("Retry-After")) || 0);
}

// The chunks of a streamed answer.
async function* chunks(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    let piece;
    try {
      piece = await reader.read();
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Refused("The connection broke in the middle of the answer.");
    }
    if (piece.done) throw new Refused("The answer broke off: the server ended it in the middle.");
    const lines = (rest + piece.value).split(/\r?\n/);
    rest = lines.pop();
    for (const line of lines) {
      if (!line.startsWith("data:")) continue;
      const data = line.slice(5).trim();
      if (data === "[DONE]") return;
      const chunk = JSON.parse(data);
      if (chunk.error) throw new Refused(String(chunk.error.message ?? "The server ended the answer."));
      yield chunk;
    }
  }
}

// Streams what an arm says to some turns into a view.
async function stream(arm, turns, view, signal) {
  const plain = byId("plain").checked,
    system = byId("system").value.trim(),
    seed = byId("seed").value;
  const body = {
    model: arm.model,
    stream: true,
    stream_options: { include_usage: true },
    routing: byId("deep").checked && whole().length <= MANY ? "layers" : true,
    max_tokens: byId("most").valueAsNumber || 128,
    temperature: byId("temperature").valueAsNumber || 0,
  };
  if (arm.experts) body.experts = arm.experts;
  if (seed !== "") body.seed = Number(seed);
  if (plain) body.prompt = turns.at(-1).content;
  else body.messages = [...(system ? [{ role: "system", content: system }] : []), ...turns];
  view.begin();
  const response = await ask(plain ? "v1/completions" : "v1/chat/completions", body, signal);
  view.clear();
  for await (const chunk of chunks(response)) {
    if (chunk.usage) view.used(chunk.usage);
    for (const choice of chunk.choices ?? []) view.add(choice.delta?.content ?? choice.text ?? "", choice.routing, choice.finish_reason);
  }
}
