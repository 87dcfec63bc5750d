"""Plain texts of a field, in passages, for continued pre-training: `corpus/ja_railway_law` (objective `lm`).

Data: corpus/NAME (rows of title and text), in the data folder only. Railway law: Japanese statutes (no copyright);
food: Aozora Bunko texts in the public domain; general Japanese and English, for measuring what was forgotten.

A text is cut into passages of at most 400 characters, at ends of lines or sentences; the prompt of each is the title of its
text. The measures are `bits_per_character`, which does not depend on the tokenizer (2 to that power is the perplexity per
character), and the log-likelihood per token (the row "logp"). The score, Rouge-L of the first hundred characters of a
generated continuation, is there because every task has one. Whole texts are train or validation, as the file says. There is
no test split: `terms/ja_railway_law` asks what `corpus/ja_railway_law` has taught.
"""

import re
from collections.abc import Mapping, Sequence
from math import exp, log

from yosegi.errors import Invalid, UnknownName
from yosegi.tasks import Candidates, Example, LogProb, Score, Task
from yosegi.tasks.readers import data, rouge

PASSAGE = 400  # characters
SCORED = 100  # characters of a passage: about as many as are generated
SPLITS = {"train": "train", "validation": "valid"}


class Corpus(Task):
    """Args:
    part: the name of the corpus.
    """

    metric = "rougeL"
    known_splits = ("train", "validation")
    max_new_tokens = 64

    def __init__(self, part: str):
        self.name, self.part = f"corpus/{part}", part
        if known := self.parts():
            UnknownName.check("corpus", [part], known)

    @classmethod
    def parts(cls) -> list[str]:
        """Returns the corpora in the data folder."""
        here = data.folder()
        names = {file.name.split(".jsonl")[0] for file in (here / "corpus").glob("*.jsonl*")} if here else set()
        return sorted(name for name in names if not name.endswith("_terms"))

    def examples(self, split: str) -> list[Example]:
        """Returns the passages of a split, in order."""
        return [example for row in self._rows(split) for example in _examples(row)]

    def documents(self, split: str) -> list[Example]:
        """Returns the whole texts of a split, in order."""
        return [
            Example(str(row["id"]), _title(row), f"\n{row['text'].strip()}", chat=False) for row in self._rows(split)
        ]

    def _rows(self, split: str) -> list[data.Row]:
        wanted = SPLITS[data.known(split, SPLITS)]
        rows = data.rows(f"corpus/{self.part}", None, f"The corpus {self.part}", ("id", "split", "text"))
        if not (rows := [row for row in rows if row["split"] == wanted]):
            raise Invalid(f"{self.name} has no {split} rows here.")
        return rows

    def score(self, example: Example, prediction: str) -> Score:
        """Returns the Rouge-L F1 of the beginning of a generated continuation."""
        return rouge.score(prediction.strip()[:SCORED], [answer[:SCORED] for answer in example.answers])

    def candidates(self, example: Example) -> Mapping[str, Candidates]:
        """Returns the passage."""
        return {"passage": Candidates((example.target,), example.prompt)}

    def score_logprobs(self, example: Example, logprobs: Mapping[str, Sequence[LogProb]]) -> Score:
        """Returns the geometric mean of the token probabilities, and `bits_per_character` (lower is better)."""
        (passage,) = logprobs["passage"]
        bits = -passage.sum_logprob / log(2) / len(example.target)
        return Score(exp(passage.sum_logprob / passage.tokens), example.id, {"bits_per_character": bits})


def _title(row: data.Row) -> str:
    return (row.get("title") or re.sub(r"\s\S*$", "", row["text"].strip()[:40])).strip()  # else its first words


def _examples(row: data.Row) -> list[Example]:
    return [
        Example(f"{row['id']}/{number}", _title(row), f"\n{passage}", (passage,), chat=False)
        for number, passage in enumerate(passages(row["text"]))
    ]


def passages(text: str, most: int = PASSAGE) -> list[str]:
    """Cuts a text into pieces of at most `most` characters: between lines, else between sentences, else anywhere."""
    joined = [""]
    for piece in _pieces(text, most):
        if len(joined[-1]) + len(piece) > most:
            joined.append("")
        joined[-1] += piece
    return [passage.strip() for passage in joined if passage.strip()]


def _pieces(text: str, most: int) -> list[str]:
    """Returns lines with their ends, the sentences of longer lines, and stretches of longer sentences."""
    pieces: list[str] = []
    for line in text.splitlines(keepends=True):
        for sentence in [line] if len(line) <= most else re.split(r"(?<=[。！？])|(?<=[.!?] )", line):
            pieces += [sentence[start : start + most] for start in range(0, len(sentence), most)]
    return pieces
