"""How a question is put, chosen by the name of the task: `math/level5/ja/4shot` is level 5, told in Japanese, four shown first.

The words of a part come in any order: one subset of the questions, the language of the instruction and its labels (`en` or
`ja`; the question itself is never translated), and `Kshot`, so many worked examples before each question.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from yosegi.errors import Invalid, UnknownName
from yosegi.tasks import Example
from yosegi.tasks.readers import data

LABELS = {"en": ("Question: ", "\nAnswer:", " "), "ja": ("問題：", "\n答え：", "")}
"""Before a question, after it, and what its answer begins with."""
NEXT = ("\nQuestion:", "\n問題：")
"""A model that writes one of these has gone on to the next question."""


@dataclass(frozen=True)
class Form:
    """A part, taken apart."""

    subset: str
    language: str
    shots: int

    def render(self, question: str) -> str:
        """The question between its labels."""
        before, after, _ = LABELS[self.language]
        return f"{before}{question}{after}"

    def answer(self, text: str) -> str:
        """What follows a question that was put."""
        return LABELS[self.language][2] + text


def read(kind: str, part: str, subsets: Sequence[str] | None, language: str, most_shots: int = 0) -> Form:
    """Take the part of a task's name apart. Where the subsets are not known (None: no data), any other word is taken for one."""
    subset, shots = "", 0
    given: list[str] = []
    for word in part.split("/") if part else []:
        if word in LABELS:
            language, what = word, "language"
        elif found := re.fullmatch(r"(\d{1,3})shot", word):
            shots, what = int(found[1]), "number of shots"
            if shots > most_shots:
                have = f"has {most_shots} worked examples to show" if most_shots else "has no worked examples to show"
                raise Invalid(f"The task {kind!r} {have}, so there is no {word!r}.")
        elif word and (subsets is None or word in subsets):
            subset, what = word, "subset"
        else:
            raise UnknownName.among(
                f"part of {kind}", word, [*(subsets or []), *LABELS, *(["1shot"] if most_shots else [])]
            )
        if what in given:
            raise Invalid(f"{kind}/{part} names more than one {what}.")
        given.append(what)
    return Form(subset, language, shots)


def ranked(rows: Sequence[data.Row]) -> list[data.Row]:
    """What worked examples are taken from, those first whose ids hash lowest."""
    return sorted(rows, key=lambda row: data.hashed(row["id"]))


def shown(pool: Sequence[data.Row], count: int, without: str) -> list[data.Row]:
    """The first worked examples of a pool, and never the question itself."""
    return [row for row in pool[: count + 1] if row["id"] != without][:count]


def after(head: str, examples: Sequence[Example], prompt: str) -> str:
    """An instruction, worked examples and the question, with an empty line between them."""
    return "\n\n".join([*([head] if head else []), *(e.prompt + e.target for e in examples), prompt])
