"""Plain texts of a field, in passages, for continued pre-training: `corpus/ja_railway_law` (objective `lm`).

Data: corpus/NAME (rows of title and text), in the data folder only. Railway law: Japanese statutes (no copyright);
food: Aozora Bunko texts in the public domain; general Japanese and English, for measuring what was forgotten.

A text is cut into passages of at most 400 characters, at ends of lines or sentences; the prompt of each is the title of
its text. What counts here is `bits_per_character`, how surprising a passage is whatever the tokenizer (2 to that power is the
perplexity per character), and the log-likelihood (the row "logp", per token); the score, Rouge-L of the first hundred
characters of a written continuation, is there because every task has one. Whole texts are train or validation, as the
file says. There is no test split: what `corpus/ja_railway_law` teaches is asked by `terms/ja_railway_law`.
The base `house` has read the general corpora, not law and not food.
"""

import re
from collections.abc import Mapping, Sequence
from math import exp, log

from yosegi.errors import Invalid, UnknownName
from yosegi.tasks import Candidates, Example, LogProb, Score, Task
from yosegi.tasks.readers import data, rouge

PASSAGE = 400  # characters
WRITTEN = 100  # characters of it that are scored: about what is generated
SPLITS = {"train": "train", "validation": "valid"}


class Corpus(Task):
    """Args:
    part: the name of the corpus.
    """

    metric = "rougeL"
    max_new_tokens = 64

    def __init__(self, part: str):
        self.name, self.part = f"corpus/{part}", part
        there = self.parts()
        if there and part not in there:
            raise UnknownName.among("corpus", part, there)

    @classmethod
    def parts(cls) -> list[str]:
        """The corpora in the data folder."""
        here = data.folder()
        names = {file.name.split(".jsonl")[0] for file in (here / "corpus").glob("*.jsonl*")} if here else set()
        return sorted(name for name in names if not name.endswith("_terms"))

    def examples(self, split: str) -> list[Example]:
        """The passages of a split, in order."""
        return [example for row in self._rows(split) for example in _examples(row)]

    def documents(self, split: str) -> list[Example]:
        """The whole texts of a split, in order."""
        return [Example(str(row["id"]), _title(row), f"\n{row['text'].strip()}") for row in self._rows(split)]

    def _rows(self, split: str) -> list[data.Row]:
        wanted = SPLITS[data.known(split, SPLITS)]
        rows = data.rows(f"corpus/{self.part}", None, f"The corpus {self.part}", ("id", "split", "text"))
        if not (rows := [row for row in rows if row["split"] == wanted]):
            raise Invalid(f"{self.name} has no {split} rows here.")
        return rows

    def score(self, example: Example, prediction: str) -> Score:
        """Rouge-L F1 of the beginning of a written continuation."""
        return rouge.score(prediction.strip()[:WRITTEN], [answer[:WRITTEN] for answer in example.answers])

    def candidates(self, example: Example) -> Mapping[str, Candidates]:
        """The passage as it is."""
        return {"passage": Candidates((example.target,), example.prompt)}

    def score_logprobs(self, example: Example, logprobs: Mapping[str, Sequence[LogProb]]) -> Score:
        """The geometric mean of the probabilities of its tokens, and `bits_per_character`, of which less is better."""
        (own,) = logprobs["passage"]
        bits = -own.sum_logprob / log(2) / len(example.target)
        return Score(exp(own.sum_logprob / own.tokens), example.id, {"bits_per_character": bits})


def _title(row: data.Row) -> str:
    return (row.get("title") or re.sub(r"\s\S*$", "", row["text"].strip()[:40])).strip()  # else its first words


def _examples(row: data.Row) -> list[Example]:
    return [
        Example(f"{row['id']}/{number}", _title(row), f"\n{passage}", (passage,))
        for number, passage in enumerate(passages(row["text"]))
    ]


def passages(text: str, most: int = PASSAGE) -> list[str]:
    """A text in order, in pieces of at most so many characters: cut at lines, else at sentences, else where it must be."""
    found = [""]
    for piece in _pieces(text, most):
        if len(found[-1]) + len(piece) > most:
            found.append("")
        found[-1] += piece
    return [passage.strip() for passage in found if passage.strip()]


def _pieces(text: str, most: int) -> list[str]:
    """Lines with their ends; of longer ones the sentences; of longer ones still, stretches."""
    pieces: list[str] = []
    for line in text.splitlines(keepends=True):
        for sentence in [line] if len(line) <= most else re.split(r"(?<=[。！？])|(?<=[.!?] )", line):
            pieces += [sentence[start : start + most] for start in range(0, len(sentence), most)]
    return pieces
