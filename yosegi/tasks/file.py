"""Your own data: `file/path/to/rows.jsonl`, also .jsonl.gz, or a .txt whose paragraphs (between blank lines) are rows.

A row has one of these shapes. A chat is written out turn by turn: "User: …", a blank line, "Assistant: …".

    {"prompt": …, "completion": …}     two texts, or two lists of {"role", "content"}
    {"messages": [… , the answer]}     a chat; the last turn, the assistant's, is the target
    {"text": …}                        a text for continued pre-training: the prompt is empty

It may have an "id" (by default the line number) and a "split". The hash of the prompt decides the split of other rows: a
twentieth of the prompts is the test, a twentieth the validation, at least one each, and the rest is for training. So no
prompt is in two splits unless the file says so. Fewer than three prompts are all for training.
"""

from pathlib import Path
from statistics import median
from typing import Any

from yosegi.errors import Invalid, NoData, UnknownName
from yosegi.spec import write_method
from yosegi.tasks import Example, Score, Task
from yosegi.tasks.readers import answers, data, rouge

SHAPES = '{"prompt", "completion"} (texts or chats), {"messages"} that end with the assistant, or {"text"}'
METRICS = ("exact_match", "rougeL", "number")
SPLITS = {"valid": "validation", "val": "validation", "dev": "validation"} | {
    name: name for name in ("train", "validation", "test")
}


class File(Task):
    """Args:
    path: the file.
    metric: `exact_match` (after NFKC, without spaces around it), `rougeL`, or `number` (the number that a text ends up with); by
        default exact match if at least half of the answers have five words or fewer (two characters of Japanese count as
        one), else Rouge-L."""

    def __init__(self, path: str, metric: str | None = None):
        if metric not in (None, *METRICS):
            raise UnknownName.among("metric of a file", metric, METRICS)
        self.name = write_method("file", {"path": path, "metric": metric}) if metric else f"file/{path}"
        self.path = Path(path).expanduser()
        rows = _read(self.path)
        places = data.deal([(example.prompt or example.target, split) for example, split in rows])
        self.splits: dict[str, list[Example]] = {}
        for (example, _), place in zip(rows, places, strict=True):
            self.splits.setdefault(place, []).append(example)
        targets = [example.target for example, _ in rows]
        self.metric = metric or ("exact_match" if median(map(rouge.words, targets)) <= 5 else "rougeL")
        # No tokenizer needs more tokens than bytes; a model that ends its answer stops before that.
        self.max_new_tokens = min(1024, max(len(target.encode()) for target in targets) + 16)
        self.stop = ("\n\nUser:",) if any("\n" in target.rstrip() for target in targets) else ("\n",)

    def examples(self, split: str) -> list[Example]:
        """Returns the rows of a split, in the order of the file. Rows may name splits of their own."""
        if split not in self.splits:
            sizes = ", ".join(f"{name} ({len(rows)})" for name, rows in self.splits.items())
            raise Invalid(f'{self.path} has no rows for {split}, only: {sizes}. Add rows, or give rows a "split".')
        return list(self.splits[split])

    def note(self, split: str) -> str | None:
        """Returns the size of each split, for whoever trains on this file."""
        others = [f"{len(rows)} for {name}" for name, rows in self.splits.items() if name != "train"]
        if split != "train" or not others:
            return None
        train = len(self.splits.get("train", ()))
        return f'{train} rows to learn from; held out are {" and ".join(others)} ("split" in a row decides).'

    def score(self, example: Example, prediction: str) -> Score:
        """Grades an answer by the metric."""
        if self.metric == "rougeL":
            return rouge.score(prediction, example.answers)
        if self.metric == "number":
            number = answers.last_number(prediction)
            return Score(float(number is not None and answers.same_number(number, example.answers[0])), number)
        answer = rouge.fold(prediction)
        return Score(float(answer in map(rouge.fold, example.answers)), answer or None)


def _read(path: Path) -> list[tuple[Example, str]]:
    """Returns every row as an example, with the split that it names."""
    if not path.name.endswith((".jsonl", ".jsonl.gz", ".txt")):
        raise Invalid(f"A task is read from a .jsonl, .jsonl.gz or .txt file, not from {str(path)!r}.")
    if not path.is_file():
        raise NoData(f"There is no file {str(path.absolute())!r}.")
    examples: dict[str, tuple[Example, str]] = {}
    for number, row in data.paragraphs(path) if path.suffix == ".txt" else data.lines(path):
        pair, name, split = _pair(row), str(row.get("id", number)), str(row.get("split") or "")
        if not pair:
            kinds = ", ".join(f"{key} ({type(value).__name__})" for key, value in list(row.items())[:6])
            raise Invalid(
                f"{path}, line {number}, has none of the accepted shapes: {SHAPES}. It has {kinds or 'nothing'}."
            )
        if not pair[1].strip():
            raise Invalid(f"{path}, line {number}: the answer is empty.")
        if name in examples:
            raise Invalid(f"{path}, line {number}: the id {name!r} is taken by an earlier row.")
        examples[name] = Example(name, *pair, (pair[1],)), SPLITS.get(split.casefold(), split)
    return list(examples.values())


def _pair(row: data.Row) -> tuple[str, str] | None:
    match row:
        case {"prompt": str(prompt), "completion": str(target)}:
            return prompt, target
        case {"text": str(target)}:
            return "", target
        case {"prompt": [*turns], "completion": [answer]} | {"messages": [*turns, answer]}:
            if all(map(_is_turn, [*turns, answer])) and answer["role"] == "assistant":
                chat = "".join(f"{turn['role'].capitalize()}: {_content(turn['content'])}\n\n" for turn in turns)
                return f"{chat}Assistant:", f" {_content(answer['content'])}"
    return None


def _is_turn(turn: data.Row) -> bool:
    return isinstance(turn, dict) and isinstance(turn.get("role"), str) and _content(turn.get("content")) is not None


def _content(content: Any) -> str | None:
    """Returns the text of a turn, which may come in parts (OpenAI's format); None if a part is no text."""
    match content:
        case str():
            return content
        case [*parts] if parts and all(isinstance(part, dict) and isinstance(part.get("text"), str) for part in parts):
            return "".join(part["text"] for part in parts)
    return None
