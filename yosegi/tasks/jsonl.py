"""Your own data: `jsonl/path/to/file.jsonl`, also .jsonl.gz, or a .txt whose paragraphs (between blank lines) are rows.

A row has one of these shapes. A chat is written out turn by turn, "User: …", a blank line, "Assistant: …":

    {"prompt": …, "completion": …}     two texts, or two lists of {"role", "content"}
    {"messages": [… , the answer]}     a chat; what the assistant says last is learnt
    {"text": …}                        a text to learn whole (continued pre-training): the prompt is empty

and, if you like, an "id" (else the line number) and a "split". Rows without one are dealt out by the hash of a prompt:
a twentieth of the prompts to test, a twentieth to validation, at least one each, the rest to train. So no prompt is on
two sides unless you put it there. Fewer than three prompts all go to train; asking for more is an error.
"""

from pathlib import Path
from statistics import median
from typing import Any

from yosegi.errors import Invalid, NoData, UnknownName
from yosegi.tasks import Example, Score, Task
from yosegi.tasks.readers import data, rouge

SHAPES = '{"prompt", "completion"} (texts or chats), {"messages"} that end with the assistant, or {"text"}'
SPLITS = {"valid": "validation", "val": "validation", "dev": "validation"} | {
    name: name for name in ("train", "validation", "test")
}


class Jsonl(Task):
    """Args:
    path: of the file.
    metric: `exact_match` (NFKC, spaces around it ignored) or `rougeL`; by default exact match if at least half of the
        answers have five words or fewer (two characters of Japanese count as one), else Rouge-L."""

    def __init__(self, path: str, metric: str | None = None):
        if metric not in (None, "exact_match", "rougeL"):
            raise UnknownName.among("metric of a file", metric, ("exact_match", "rougeL"))
        self.name, self.path = f"jsonl/{path}", Path(path).expanduser()
        rows = _read(self.path)
        places = data.deal([(example.prompt or example.target, split) for example, split in rows])
        self.splits: dict[str, list[Example]] = {}
        for (example, _), place in zip(rows, places, strict=True):
            self.splits.setdefault(place, []).append(example)
        targets = [example.target for example, _ in rows]
        self.metric = metric or ("exact_match" if median(map(rouge.words, targets)) <= 5 else "rougeL")
        # No tokenizer needs more tokens than bytes; whoever has ended an answer stops before that.
        self.max_new_tokens = min(1024, max(len(target.encode()) for target in targets) + 16)
        self.stop = ("\n\nUser:",) if any("\n" in target.rstrip() for target in targets) else ("\n",)

    def examples(self, split: str) -> list[Example]:
        """The rows of a split, in the order of the file. It may be a split of your own naming."""
        if split not in self.splits:
            there = ", ".join(f"{name} ({len(rows)})" for name, rows in self.splits.items())
            raise Invalid(f'{self.path} has no rows for {split}, only: {there}. Add rows, or give rows a "split".')
        return list(self.splits[split])

    def note(self, split: str) -> str | None:
        """How the rows were dealt out, to whoever learns from them."""
        there = {name: len(rows) for name, rows in self.splits.items()}
        others = [f"{n} for {name}" for name, n in there.items() if name != "train"]
        if split != "train" or not others:
            return None
        return f'{there.get("train", 0)} rows to learn from; held out are {" and ".join(others)} ("split" in a row decides).'

    def score(self, example: Example, prediction: str) -> Score:
        """Exact match or Rouge-L, whichever is the metric."""
        if self.metric == "rougeL":
            return rouge.score(prediction, example.answers)
        answer = rouge.fold(prediction)
        return Score(float(answer in map(rouge.fold, example.answers)), answer or None)


def _read(path: Path) -> list[tuple[Example, str]]:
    """Every row as an example, with the split it asks for."""
    if not path.name.endswith((".jsonl", ".jsonl.gz", ".txt")):
        raise Invalid(f"A task is read from a .jsonl, .jsonl.gz or .txt file, not from {str(path)!r}.")
    if not path.is_file():
        raise NoData(f"There is no file {str(path.absolute())!r}.")
    found: dict[str, tuple[Example, str]] = {}
    for number, row in data.paragraphs(path) if path.suffix == ".txt" else data.lines(path):
        pair, name, split = _pair(row), str(row.get("id", number)), str(row.get("split") or "")
        if not pair:
            kinds = ", ".join(f"{key} ({type(value).__name__})" for key, value in list(row.items())[:6])
            raise Invalid(
                f"{path}, line {number}, has none of the accepted shapes: {SHAPES}. It has {kinds or 'nothing'}."
            )
        if not pair[1].strip():
            raise Invalid(f"{path}, line {number}: the answer is empty.")
        if name in found:
            raise Invalid(f"{path}, line {number}: the id {name!r} is taken by an earlier row.")
        found[name] = Example(name, *pair, (pair[1],)), SPLITS.get(split.casefold(), split)
    return list(found.values())


def _pair(row: data.Row) -> tuple[str, str] | None:
    match row:
        case {"prompt": str(prompt), "completion": str(target)}:
            return prompt, target
        case {"text": str(target)}:
            return "", target
        case {"prompt": [*turns], "completion": [answer]} | {"messages": [*turns, answer]}:
            if all(map(_is_turn, [*turns, answer])) and answer["role"] == "assistant":
                chat = "".join(f"{turn['role'].capitalize()}: {_said(turn['content'])}\n\n" for turn in turns)
                return f"{chat}Assistant:", f" {_said(answer['content'])}"
    return None


def _is_turn(turn: data.Row) -> bool:
    return isinstance(turn, dict) and isinstance(turn.get("role"), str) and _said(turn.get("content")) is not None


def _said(content: Any) -> str | None:
    """The text of a turn, which may come in parts, as the OpenAI format has it; None where a part is no text."""
    match content:
        case str():
            return content
        case [*parts] if parts and all(isinstance(part, dict) and isinstance(part.get("text"), str) for part in parts):
            return "".join(part["text"] for part in parts)
    return None
