"""Your own data: `file/path/to/rows.jsonl`, in any usual form (readers/records.py) and shape (readers/shapes.py).

    file/rows.jsonl                                          a question, its answer and the rest are found by their names
    file{path=rows.csv,columns={prompt=ask,completion=say}}  or named
    file{path=rows.jsonl,metric=number}                      scored as readers/measures.py says; by default as the fields suggest
    file/hf:openai/gsm8k/main:train                          a data set on the Hub: its id, a configuration, a split

A row may have an "id" (by default its line) and a "split". The hash of the prompt decides the split of other rows: a twentieth
of the prompts is the test, a twentieth the validation, at least one each, and the rest is for training. So no prompt is in
two splits unless the file says so. Fewer than three prompts are all for training.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from yosegi.errors import Invalid, UnknownName
from yosegi.spec import write_method
from yosegi.tasks import Candidates, Example, LogProb, Score, Task
from yosegi.tasks.readers import choices, data, measures, shapes
from yosegi.tasks.readers.forms import NEXT
from yosegi.tasks.readers.judged import judged
from yosegi.tasks.readers.letters import LETTERS
from yosegi.tasks.readers.measures import NEEDS
from yosegi.tasks.readers.programs import CLOSE, outcomes
from yosegi.tasks.readers.programs import read as read_program
from yosegi.tasks.readers.records import names, read
from yosegi.untrusted import Pattern

SPLITS = {"valid": "validation", "val": "validation", "dev": "validation"} | {
    name: name for name in ("train", "validation", "test")
}
STOPS = {
    "conversations": ("\n\nUser:",),
    "preference pairs": ("\n\nUser:",),
    "instructions": ("\n###",),
    "programs with tests": (CLOSE,),
}
"""Where an answer ends that may have several lines; one that has a single line ends with it."""


class File(Task):
    """Args:
    path: the file, or hf:ID[/CONFIG][:SPLIT].
    metric: how answers are scored (readers/measures.py); by default what the fields of the rows suggest.
    columns: names of fields, as in {prompt=question,completion=answer}: ours, then the file's.
    pattern: the regular expression of `metric=regex`, for rows that bring none.
    split: of the rows that name none; by default the hash of the prompt deals them out.
    max_new_tokens: where generation ends at the latest; by default where the longest answer of the file would."""

    def __init__(
        self,
        path: str,
        metric: str | None = None,
        columns: Mapping[str, str] | None = None,
        pattern: str | None = None,
        split: str | None = None,
        max_new_tokens: int | None = None,
    ):
        options = {
            "metric": metric,
            "columns": columns,
            "pattern": pattern,
            "split": split,
            "max_new_tokens": max_new_tokens,
        }
        given = {key: value for key, value in options.items() if value}
        self.name = write_method("file", {"path": path, **given}) if given else f"file/{path}"
        self.path, self.pattern, self.guessed = path, pattern, metric is None
        UnknownName.check("field", columns or {}, sorted({*shapes.SAME, *shapes.FIELDS}))
        Pattern(pattern or "", "pattern")
        rows = _understood(path, columns or {})
        self.metric = metric or measures.guess([shape for _, _, shape, _ in rows])
        self.kinds = Counter(shape.kind for _, _, shape, _ in rows)
        for place, _, shape, _ in rows:
            Pattern(shape.meta.get("regex") or "", "regex")
            if fault := measures.check(self.metric, shape, pattern):
                raise Invalid(f"{path}, {place}: {fault}, which metric={self.metric} needs.")
        targets = [shape.target for _, _, shape, _ in rows]
        longest = max(len(target.encode()) for target in targets) if any(targets) else 240
        # No tokenizer needs more tokens than bytes; a model that ends its answer stops before that.
        self.max_new_tokens = max_new_tokens or min(1024, longest + 16)
        (kind, _), *_ = self.kinds.most_common(1)
        several = not any(targets) or any("\n" in target.rstrip() for target in targets)
        self.stop = STOPS.get(kind, ("\n\nUser:",)) if several else ("\n",)
        if self.metric == choices.WRITTEN:
            self.stop, self.max_new_tokens = NEXT, max_new_tokens or 64
        self.generates = self.metric not in choices.MEASURES
        placed = data.deal([(shape.prompt or shape.target, given or split or "") for _, _, shape, given in rows])
        self.splits: dict[str, list[Example]] = {}
        for (_, name, shape, _), place in zip(rows, placed, strict=True):
            one = Example(name, shape.prompt, shape.target, shape.answers, dict(shape.meta), shape.messages)
            if self.metric == choices.WRITTEN:
                letter = LETTERS[shape.meta["answer_index"]]
                gap = shape.target.removesuffix(shape.answers[0])
                one = replace(one, prompt=shape.meta["listed"], target=f"{gap}{letter}", answers=(letter,))
            self.splits.setdefault(place, []).append(one)

    def examples(self, split: str) -> list[Example]:
        """Returns the rows of a split, in the order of the file. Rows may name splits of their own."""
        if split not in self.splits:
            sizes = ", ".join(f"{name} ({len(rows)})" for name, rows in self.splits.items())
            raise Invalid(f'{self.path} has no rows for {split}, only: {sizes}. Add rows, or give rows a "split".')
        return list(self.splits[split])

    def describe(self, scored: bool = True) -> str:
        """Returns how the rows were understood and, where it matters, how answers to them are scored."""
        words = "read as " + ", ".join(f"{kind} ({n})" for kind, n in self.kinds.most_common())
        words += ", of which the chosen answer alone is learnt" * ("preference pairs" in self.kinds)
        metric = {"passed": "pass@1", "accuracy": "accuracy, acc_norm and letter"}.get(self.metric, self.metric)
        another = " (metric=… in the task chooses another)" * self.guessed
        return f"{words}, scored by {metric}{another}" if scored else words

    def note(self, split: str) -> str | None:
        """Returns how the rows were understood, and how many are for this split."""
        sizes = {name: len(rows) for name, rows in self.splits.items()}
        if split == "train":
            others = [f"{n} for {name}" for name, n in sizes.items() if name != "train"]
            held = f'; held out are {" and ".join(others)} ("split" in a row decides)' if others else ""
            return f"{self.describe(scored=False)}; {sizes.get('train', 0)} rows to learn from{held}."
        others = sum(n for name, n in sizes.items() if name != split)
        asked = f"; {sizes.get(split, 0)} rows are for {split}, {others} for other splits" if others else ""
        return f"{self.describe()}{asked}{f' (split={split} in the task asks all)' * bool(asked)}."

    def score(self, example: Example, prediction: str) -> Score:
        """Grades an answer by the metric."""
        if self.metric in choices.MEASURES:
            return measures.exact_match(prediction, example.answers)
        if self.metric == "passed":
            return self.scores([example], [prediction])[0]
        return measures.score(self.metric, example, prediction, self.pattern)

    def scores(self, examples: Sequence[Example], predictions: Sequence[str]) -> list[Score]:
        """Grades many answers at once; programs run side by side."""
        if self.metric != "passed":
            return super().scores(examples, predictions)
        programs = [read_program(text) for text in predictions]
        programs = [
            f"{example.meta['before']}\n{code}" if code.strip() else ""
            for example, code in zip(examples, programs, strict=True)
        ]
        tests = [
            judged(one.meta["tests"], *(one.answers or ("",))[:1], one.meta["before"], name=one.meta["name"])
            for one in examples
        ]
        results = outcomes(programs, tests)
        return [
            Score(float(not one.error), None if one.error == "syntax" else one.error or "passed") for one in results
        ]

    def candidates(self, example: Example) -> Mapping[str, Candidates]:
        """Returns the choices after the bare question, and the letters after the listed choices."""
        if self.generates:
            return {}
        gap = example.target.removesuffix(example.answers[0])
        return choices.candidates(example, example.prompt, example.meta["listed"], lambda text: f"{gap}{text}")

    def score_logprobs(self, example: Example, logprobs: Mapping[str, Sequence[LogProb]]) -> Score:
        """Returns the metric of the choices; the other measures are further metrics."""
        return choices.graded(example, logprobs, self.metric)

    def chance(self, example: Example) -> float | None:
        """Returns the share of one choice."""
        return 1 / len(example.meta["choices"]) if "choices" in NEEDS.get(self.metric, ()) else None


def _understood(path: str, columns: Mapping[str, str]) -> list[tuple[str, str, shapes.Shape, str]]:
    """Each row's place, id, shape and the split that it names."""
    records, rows = read(path), list[tuple[str, shapes.Shape, str]]()
    for place, row in records:
        try:
            shape = shapes.understand(shapes.rename(row, columns) if columns else row)
        except ValueError as error:
            raise Invalid(f"{path}, {place}: {error}.") from error
        if not shape:
            kinds = ", ".join(f"{key} ({type(value).__name__})" for key, value in list(row.items())[:6])
            raise Invalid(
                f"{path}, {place}, has none of the accepted shapes: {shapes.SHAPES}. It has {kinds or 'nothing'}."
            )
        if not isinstance(split := row.get("split", ""), str):
            raise Invalid(f"{path}, {place}: the split is {split!r}, which is no name.")
        rows.append((place, shape, SPLITS.get(split.casefold(), split)))
    return [(place, name, shape, split) for (place, shape, split), name in zip(rows, names(records, path), strict=True)]
