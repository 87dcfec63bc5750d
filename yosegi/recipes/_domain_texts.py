"""What `domain` reads and asks: texts that are weighed and not continued, and a small world made up for the smoke run."""

import json
from collections.abc import Mapping, Sequence
from math import exp, log
from pathlib import Path
from typing import Any

from yosegi import files, tasks
from yosegi.run import Run
from yosegi.tasks import Candidates, Example, LogProb, Score, Task

MADE_UP = "made up"
PARTS = ("brim", "coil", "dram", "fell", "gant", "hest", "jorn", "lume")
PLACES = ("below the rail", "beside the track", "above the wheel", "inside the cab")


class Texts(Task):
    """Passages of a task, each weighed as a whole: nothing is written, so a thousand cost what one continuation does.

    Args:
        name: of the task whose passages they are.
        split: of it; whoever asks for another gets this one.
        most: so many passages, evenly taken from all.
        but: of those that are left by a `Texts` of so many, so that nothing is asked of both.
    """

    metric = "token_probability"
    generates = False

    def __init__(self, name: str, split: str = "validation", most: int | None = None, but: int | None = None):
        self.task, self.split, self.most, self.but = tasks.load(name), split, most, but
        self.name = self.task.name

    def examples(self, split: str) -> list[Example]:
        """Those passages."""
        every = self.task.examples(self.split)
        taken = {example.id for example in spread(every, self.but)} if self.but else set()
        return spread([example for example in every if example.id not in taken], self.most)

    def candidates(self, example: Example) -> Mapping[str, Candidates]:
        """The passage with its title."""
        return {"passage": Candidates((example.prompt + example.target,))}

    def score_logprobs(self, example: Example, logprobs: Mapping[str, Sequence[LogProb]]) -> Score:
        """The geometric mean of its tokens' probabilities; bits per character besides."""
        (own,) = logprobs["passage"]
        bits = -own.sum_logprob / log(2) / len(example.prompt + example.target)
        return Score(exp(own.sum_logprob / own.tokens), example.id, {"bits_per_character": bits})


def spread(examples: Sequence[Example], most: int | None) -> list[Example]:
    """At most so many, evenly taken from all: the first ones would be of one text."""
    step = max(1, -(-len(examples) // most)) if most else 1
    return list(examples[::step])


def made_up(run: Run) -> dict[str, str]:
    """A field with eight words nobody knows, a second field, plain sentences, and a quiz, written into the run's folder once."""
    folder = run.path / "texts"
    words = [(f"{part}{end}", PLACES[n % len(PLACES)]) for n, part in enumerate(PARTS) for end in ("er", "ing")]
    texts = {
        "domain": [f"the {word} is the part {place}, number {n}." for n, (word, place) in enumerate(words)],
        "second": [f"take {n} eggs and {n + 1} spoons of {part}." for n, part in enumerate(PARTS * 2)],
        "general": [f"it was day {n} and we went home {place}." for n, place in enumerate(PLACES * 4)],
    }
    for name, lines in texts.items():
        rows = [
            {"id": f"{name}/{n}", "text": line, "split": "validation" if n % 4 == 3 else "train"}
            for n, line in enumerate(lines)
        ]
        _write(folder / f"{name}.jsonl", rows)
    quiz = [
        {
            "id": f"q{n}", "split": "fewshot" if n < 1 else "test", "lang": "en",
            "question": f"What is the part {place}, number {n}?",
            "answer": word, "choices": [other for other, _ in words[n : n + 3]] + [words[n - 1][0]],
            "statement_template": f"the {{word}} is the part {place}, number {n}.", "neutral_template": "the {word} is here.",
        }
        for n, (word, place) in enumerate(words[:7])
    ]  # fmt: skip
    _write(folder / "quiz.jsonl", quiz)
    return {name: f"file/{folder}/{name}.jsonl" for name in texts} | {"quiz": f"terms/{folder}/quiz.jsonl"}


def _write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write(path, "".join(json.dumps(row) + "\n" for row in rows))
