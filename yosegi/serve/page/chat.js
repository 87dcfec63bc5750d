// A conversation. Another arm may answer each turn; all of them read the turns before it.
const talk = [];
let speaking = null;

const picker = new Picker(byId("chat-arm"), "Arm", "=base");

// The turns that were answered, as the server takes them.
const earlier = turns =>
  turns.flatMap(({ question, answer }) =>
    answer.whole || answer.written
      ? [
          { role: "user", content: question },
          { role: "assistant", content: answer.written },
        ]
      : [],
  );

async function reply(turn) {
  const stopper = (speaking = new AbortController());
  byId("send").disabled = true;
  byId("stop").disabled = false;
  announce(`${turn.answer.arm.label} answers.`);
  await turn.answer.write([...earlier(talk.slice(0, talk.indexOf(turn))), { role: "user", content: turn.question }], stopper.signal);
  if (speaking !== stopper) return;
  speaking = null;
  byId("send").disabled = false;
  byId("stop").disabled = true;
}

function say(question) {
  const turn = { question };
  turn.answer = new Answer(picker.arm, () => speaking || reply(turn), true);
  talk.push(turn);
  byId("hint").hidden = true;
  byId("turns").append(make("article", { className: "question", ariaLabel: "Your message" }, make("p", {}, question)), turn.answer.element);
  toTheEnd();
  return reply(turn);
}

function forget() {
  speaking?.abort();
  speaking = null;
  talk.length = 0;
  unpin();
  byId("turns").replaceChildren();
  byId("hint").hidden = false;
  byId("send").disabled = false;
  byId("stop").disabled = true;
  byId("question").focus();
}

byId("ask").addEventListener("submit", event => {
  event.preventDefault();
  const box = byId("question"),
    text = box.value;
  if (speaking || !text.trim()) return box.focus();
  box.value = "";
  box.focus();
  say(text);
});
byId("stop").addEventListener("click", () => speaking?.abort());
byId("fresh").addEventListener("click", forget);
