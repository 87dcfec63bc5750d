"""What a row of somebody's own data means: the shapes in which people keep prompts and answers, each turned into an example.

    messages, conversations          a chat in OpenAI's form (content in parts, tool calls) or ShareGPT's (from, value)
    chosen, rejected                 a preference pair: the chosen answer is learnt, the other is not
    question, choices, answer        a choice (choices.py says how choices and answers are written)
    instruction or prompt, tests     a program, with the tests that it has to pass
    instruction, input, output       an instruction as Alpaca has it (Dolly: context, response)
    prompt, completion               two texts exactly as they are, or two lists of turns
    question, context, answers       a question with one answer or several
    text                             for continued pre-training: the prompt is empty
    prompt, contains, regex          no answer at all, but something to check

Where a row has other names for the same (`SAME`), these are understood. A chat without a template is written out turn by turn:
"User: …", an empty line, "Assistant: …".
"""

import ast
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from yosegi.tasks.readers.choices import read_choices
from yosegi.tasks.readers.formats import FORMATS
from yosegi.tasks.readers.forms import LABELS
from yosegi.tasks.readers.letters import lettered
from yosegi.tasks.readers.programs import CLOSE, OPEN
from yosegi.tasks.readers.records import Row

SAME = {
    "messages": ("messages", "conversations", "conversation"),
    "choices": ("choices", "options"),
    "answer_index": ("answer_index", "answerKey", "answer", "label"),
    "question": ("question", "query", "problem"),
    "context": ("context", "passage"),
    "instruction": ("instruction", "definition"),
    "input": ("input", "context"),
    "output": ("output", "response", "outputs", "answer", "answers", "completion"),
    "prompt": ("prompt", "input", "source"),
    "completion": ("completion", "response", "output", "outputs", "answer", "answers", "target"),
    "answer": ("answers", "answer", "output", "outputs", "response", "completion", "target"),
    "solution": ("solution", "canonical_solution", "code", "completion", "output"),
    "tests": ("tests", "test_list", "test"),
}
"""Our names of fields, and the names that are understood as the same, the first that a row has."""
FIELDS = ("text", "chosen", "rejected", "system", "contains", "regex", "entry_point", "id", "split")
SHAPES = (
    "prompt and completion, instruction (input) output, question and answer(s), question, choices and answer, messages or "
    "conversations that end with the assistant, chosen and rejected, a task with tests, text; or name them with columns: "
    "prompt=…,completion=…"
)
ROLES = {"human": "user", "gpt": "assistant", "chatgpt": "assistant", "bot": "assistant", "model": "assistant"} | {
    "developer": "system", "function": "tool", "function_response": "tool", "observation": "tool", "ipython": "tool",
}  # fmt: skip
JAPANESE = re.compile("[぀-ヿ一-鿿]")
TEST_KINDS = ("append", "check(entry_point)")


class Shape(NamedTuple):
    """A row as it was understood; an empty target is no answer."""

    kind: str
    prompt: str
    target: str = ""
    answers: tuple[str, ...] = ()
    messages: tuple[dict[str, str], ...] = ()
    meta: Mapping[str, Any] = {}


def understand(row: Row) -> Shape | None:
    """Returns what a row means; None if it has none of the shapes.

    Raises:
        ValueError: it has one of the shapes, but what stands there cannot be right.
    """
    checks = {key: row[key] for key in ("contains", "regex") if key in row}
    for name, read in READERS.items():
        if shape := read(row):
            if shape.answers and not shape.target.strip():
                raise ValueError("the answer is empty")
            return shape._replace(kind=name, meta={**shape.meta, **checks})
    prompt = _text(row, "prompt") or _text(row, "question") or _text(row, "instruction")
    return Shape("prompts with checks", prompt, meta=checks) if prompt and checks else None


def rename(row: Row, columns: Mapping[str, str]) -> Row:
    """Returns the columns under our names, with the id and the split."""
    if missing := [theirs for theirs in columns.values() if theirs not in row]:
        raise ValueError(f"it has no column {missing[0]!r}, only {', '.join(row)}")
    kept = {key: row[key] for key in ("id", "split") if key in row}
    return {**kept, **{ours: row[theirs] for ours, theirs in columns.items()}}


def _first(row: Row, name: str) -> Any:
    return next((row[key] for key in SAME[name] if key in row), None)


def _string(value: Any) -> str | None:
    """A text, a number or a truth value as text."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value) if isinstance(value, str | int | float) else None


def _text(row: Row, name: str) -> str | None:
    return _string(_first(row, name))


def _answers(row: Row, name: str) -> tuple[str, ...]:
    """The accepted answers: one, a list, or {"text": […]} as SQuAD has it; nothing where the row has none of the name."""
    value = _first(row, name)
    if isinstance(value, Mapping):
        value = value.get("text")
    texts = [_string(one) for one in (value if isinstance(value, list | tuple) else [value])]
    if None in texts:
        return ()
    if not (given := tuple(dict.fromkeys(text for text in texts if text and text.strip()))):
        raise ValueError("the answer is empty")
    return given


def _chat(row: Row) -> Shape | None:
    turns = _first(row, "messages")
    if turns is None and isinstance(row.get("prompt"), list) and isinstance(row.get("completion"), list):
        turns = [*row["prompt"], *row["completion"]]
    if not isinstance(turns, list) or not all(isinstance(turn, Mapping) for turn in turns):
        return None
    return _conversation(turns, row.get("system"))


def _conversation(turns: Sequence[Any], system: Any = None) -> Shape:
    """Turns up to the last of the assistant: nobody answers what comes after it."""
    messages = [message for message in map(_turn, turns) if message]
    answered = [n for n, message in enumerate(messages) if message["role"] == "assistant"]
    if bad := next((n for n, turn in enumerate(turns, 1) if not _turn(turn)), 0):
        raise ValueError(f"turn {bad} has no role or no text")
    if not answered:
        raise ValueError("no turn is the assistant's")
    messages = messages[: answered[-1] + 1]
    if isinstance(system, str) and system.strip() and messages[0]["role"] != "system":
        messages = [{"role": "system", "content": system}, *messages]
    *before, answer = messages
    chat = "".join(f"{turn['role'].capitalize()}: {turn['content']}\n\n" for turn in before)
    return Shape("", f"{chat}Assistant:", f" {answer['content']}", (answer["content"],), tuple(messages))


def _turn(turn: Any) -> dict[str, str] | None:
    """A turn's role and text. A content may come in parts; calls of tools are written as they are by Hermes and Qwen."""
    if not isinstance(turn, Mapping):
        return None
    role, content = turn.get("role") or turn.get("from"), turn.get("content", turn.get("value"))
    asked = turn.get("tool_calls")
    calls = [
        call.get("function", call) for call in (asked if isinstance(asked, list) else ()) if isinstance(call, Mapping)
    ]
    calls = [call for call in calls if isinstance(call, Mapping)]
    if isinstance(content, list):
        parts = [part.get("text") if isinstance(part, Mapping) else part for part in content]
        content = "".join(map(str, parts)) if parts and all(isinstance(part, str) for part in parts) else None
    written = [content] if isinstance(content, str) and content else []
    written += [f"<tool_call>\n{json.dumps(_call(call), ensure_ascii=False)}\n</tool_call>" for call in calls]
    if not isinstance(role, str) or not written:
        return None
    return {"role": ROLES.get(role.lower(), role.lower()), "content": "\n".join(written)}


def _call(call: Mapping[str, Any]) -> dict[str, Any]:
    arguments = call.get("arguments", {})
    if isinstance(arguments, str):
        with suppress(ValueError):
            arguments = json.loads(arguments)
    return {"name": call.get("name"), "arguments": arguments}


def _preference(row: Row) -> Shape | None:
    chosen, prompt = row.get("chosen"), row.get("prompt", row.get("question", row.get("input")))
    if "rejected" not in row:
        return None
    if isinstance(chosen, list):
        before = prompt if isinstance(prompt, list) else [{"role": "user", "content": prompt}]
        alone = len(chosen) == 1 and prompt is not None
        return _conversation([*before, *chosen] if alone else chosen, row.get("system"))
    if not isinstance(chosen, str):
        return None
    if isinstance(prompt, str):
        turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": chosen}]
        return Shape("", prompt, chosen, (chosen,), tuple(turns))
    turns = re.split(r"\n\n(Human|Assistant): ?", f"\n\n{chosen.strip()}")[1:]  # as Anthropic's HH has them
    return _conversation([{"role": who, "content": text} for who, text in zip(turns[::2], turns[1::2], strict=True)])


def _choice(row: Row) -> Shape | None:
    question, choices = _text(row, "question") or _text(row, "prompt"), _first(row, "choices")
    if choices is None and {"A", "B"} <= set(row):
        choices = {letter: row[letter] for letter in "ABCDEFGHIJ" if letter in row}
    if isinstance(choices, str) and choices.lstrip().startswith("["):  # in a table
        choices = json.loads(choices)
    answer = _first(row, "answer_index")
    if question is None or not isinstance(choices, list | Mapping) or answer is None:
        return None
    texts, right = read_choices(choices, answer)
    bare, gap = _ask(question, _text(row, "context"))
    listed, _ = _ask(question + lettered(texts), _text(row, "context"))
    meta = {"choices": texts, "answer_index": right, "listed": listed}
    return Shape("", bare, f"{gap}{texts[right]}", (texts[right],), meta=meta)


def _program(row: Row) -> Shape | None:
    """A prompt that begins a function is shown as code; else the tests are shown, unless `entry_point` says what to write."""
    tests, prompt = _first(row, "tests"), str(row.get("prompt") or "")
    wanted = _text(row, "instruction") or _text(row, "question") or row.get("text") or prompt
    tests = "\n".join(map(str, tests)) if isinstance(tests, list) else tests
    if (
        not isinstance(tests, str)
        or not isinstance(wanted, str)
        or not wanted
        or ("test" in row and "def check(" not in tests)
    ):
        return None
    if (kind := row.get("test_kind", TEST_KINDS[0])) not in TEST_KINDS:
        raise ValueError(f"tests of the kind {kind!r} are not run; there are {' and '.join(TEST_KINDS)}")
    if not re.search(r"\b(?:assert|raise)|\.assert", tests):
        raise ValueError("its tests assert nothing, so that any program would pass")
    name, before, code = row.get("entry_point"), "", (_text(row, "solution") or "").replace("\r\n", "\n").strip("\n")
    if begun := list(re.finditer(r"^(?:async )?def ", prompt, re.MULTILINE)):
        wanted = f"Write the function that this describes.\n\n```python\n{prompt.rstrip()}{CLOSE}"
        before, code = prompt[: begun[-1].start()], f"{prompt}{code}" if code else ""
    elif name is None:
        wanted = f"{wanted.strip()}\nYour code should pass these tests:\n\n{tests}"
    try:
        ast.parse(code)
    except SyntaxError as error:
        raise ValueError(f"its solution is no Python program ({error.msg})") from error
    tests += f"\ncheck({name})" if name and "def check(" in tests else ""
    answers, target = ((code,), f"\n{code}") if code else ((), "")
    return Shape(
        "", wanted.strip() + OPEN, target, answers, meta={"tests": tests, "before": before, "name": name or ""}
    )


def _instruction(row: Row) -> Shape | None:
    instruction, more = _text(row, "instruction"), _text(row, "input") or ""
    if instruction is None or not (answers := _answers(row, "output")):
        return None
    template, gap = FORMATS["instruction"].template, FORMATS["instruction"].gap
    template = template if more.strip() else template.replace("### Input:\n{input}\n\n", "")
    asked = f"{instruction}\n\n{more}" if more.strip() else instruction
    messages = ({"role": "user", "content": asked}, {"role": "assistant", "content": answers[0]})
    return Shape("", template.format(definition=instruction, input=more), f"{gap}{answers[0]}", answers, messages)


def _pair(row: Row) -> Shape | None:
    """`prompt` and `completion` are kept as they are."""
    prompt = _text(row, "prompt")
    answers = () if prompt is None else _answers(row, "completion")
    return Shape("", prompt, answers[0], answers) if prompt is not None and answers else None


def _question(row: Row) -> Shape | None:
    question = _text(row, "question")
    if question is None or not (answers := _answers(row, "answer")):
        return None
    asked, gap = _ask(question, _text(row, "context"))
    return Shape("", asked, f"{gap}{answers[0].strip()}", answers)


def _plain(row: Row) -> Shape | None:
    text = row.get("text")
    if isinstance(text, str) and not text.strip():
        raise ValueError("the answer is empty")
    return Shape("", "", text, (text,)) if isinstance(text, str) else None


def _ask(question: str, context: str | None) -> tuple[str, str]:
    """The prompt of a question, and what its answer begins with."""
    before, after, gap = LABELS["ja" if JAPANESE.search(question) else "en"]
    context = f"{context.strip()}\n\n" if context and context.strip() else ""
    return f"{context}{before}{question.strip()}{after}", gap


READERS = {
    "conversations": _chat,
    "preference pairs": _preference,
    "questions with choices": _choice,
    "programs with tests": _program,
    "instructions": _instruction,
    "prompts and completions": _pair,
    "questions and answers": _question,
    "texts": _plain,
}
"""What rows are called, and who reads them: the first that understands a row has it."""
