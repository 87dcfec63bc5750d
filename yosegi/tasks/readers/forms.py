"""Tasks that put a question between labels, after an instruction and worked examples (few-shot). The name chooses the form.

`math/level5/ja/4shot` asks the problems of level 5 with a Japanese instruction, after four worked examples. The words of a
part may come in any order: a subset of the questions; the language of the instruction and the labels (`en` or `ja`; the
question itself is never translated); and `Kshot`, the number of worked examples. A task of this kind declares its source, its
instruction and how a row becomes question, target and answers; the rest is here.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from yosegi.errors import Invalid, UnknownName
from yosegi.tasks import Example, Task
from yosegi.tasks.readers.data import Row, hashed

LABELS = {"en": ("Question: ", "\nAnswer:", " "), "ja": ("問題：", "\n答え：", "")}
"""For each language what stands before a question, what stands after it, and what its answer begins with."""
NEXT = ("\nQuestion:", "\n問題：")
"""A model that writes one of these has answered and gone on to a next question."""


class Form(NamedTuple):
    """The part of a task's name, parsed."""

    subset: str = ""
    language: str = "en"
    shots: int = 0
    option: str = ""

    def render(self, question: str) -> str:
        """Returns the question between its labels."""
        before, after, _ = LABELS[self.language]
        return f"{before}{question}{after}"

    def answer(self, text: str) -> str:
        """Returns an answer as it follows a rendered question."""
        return LABELS[self.language][2] + text


def read(
    kind: str,
    part: str,
    subsets: Sequence[str] | None,
    language: str,
    most_shots: int = 0,
    options: Sequence[str] = (),
) -> Form:
    """Parses the part of a task's name. If the subsets are not known (None: there is no data), any other word is one."""
    chosen: dict[str, Any] = {}
    for word in part.split("/") if part else []:
        shots = re.fullmatch(r"(\d{1,3})shot", word)
        option = "language" if word in LABELS else "shots" if shots else "option" if word in options else "subset"
        if shots and int(shots[1]) > most_shots:
            raise Invalid(
                f"The task {kind!r} has {most_shots or 'no'} worked examples to show, so there is no {word!r}."
            )
        if option == "subset" and not (word and (subsets is None or word in subsets)):
            known = [*(subsets or []), *LABELS, *options, *(["1shot"] if most_shots else [])]
            raise UnknownName.among(f"part of {kind}", word, known)
        if option in chosen:
            raise Invalid(f"{kind}/{part} names more than one {option}.")
        chosen[option] = int(shots[1]) if shots else word
    return Form(**{"language": language, **chosen})


class Questions(Task):
    """The base class of these tasks. A row has an id, a question and whatever `target` and `answers` read.

    Attributes:
        kind: the name of the task without its part.
        language: `en` or `ja`, unless the part names one.
        instruction: for each language what stands before everything else; "" for nothing.
        most_shots: the largest K of `Kshot`.
        options: further words of a part, of which it may have one.
    """

    kind: str
    language = "en"
    instruction: Mapping[str, str] = dict.fromkeys(LABELS, "")
    most_shots = 0
    options: Sequence[str] = ()
    stop = NEXT

    def __init__(self, part: str = ""):
        self.form = read(self.kind, part, self.subsets(), self.language, self.most_shots, self.options)
        self.name = f"{self.kind}/{part}" if part else self.kind

    @classmethod
    def subsets(cls) -> list[str] | None:
        """Returns the names of the subsets; None where only the data could tell, and it is not here."""
        return []

    @classmethod
    def parts(cls) -> list[str]:
        """Returns the subsets, the languages, and up to five worked examples."""
        shots = min(5, cls.most_shots)
        return [*(cls.subsets() or []), *LABELS, *([f"{shots}shot"] if shots else []), *cls.options]

    def subsets_of(self, row: Row) -> Sequence[str | None]:
        """Returns the subsets to which a row belongs."""
        return (row.get("subset"),)

    def rows(self, split: str) -> list[Row]:
        """Returns the rows of a split that belong to the subset, in upstream order."""
        return [row for row in self.source.rows(split) if self.form.subset in ("", *self.subsets_of(row))]

    def shots(self) -> list[Row]:
        """Returns the worked examples, the first ones first: by default the training rows in the order of their hashes."""
        return ranked(self.rows("train"))

    def question(self, row: Row) -> str:
        """Returns the question as it stands in the prompt."""
        return row["question"].strip()

    def target(self, row: Row) -> str:
        """Returns what a model learns to write."""
        return row["solution"].strip()

    def answers(self, row: Row) -> tuple[str, ...]:
        """Returns the accepted answers."""
        return (row["answer"],)

    def meta(self, row: Row) -> dict[str, Any]:
        """Returns what scoring or a report needs besides."""
        return {}

    def ask(self, row: Row) -> str:
        """Returns a question between its labels, after the text that it is about."""
        return self.about(row) + self.form.render(self.question(row))

    def about(self, row: Row) -> str:
        """Returns the text that a question is about, where it has one, with an empty line after it."""
        return f"{row['context'].strip()}\n\n" if row.get("context") else ""

    def example(self, row: Row) -> Example:
        """Returns a question after its instruction and worked examples."""
        instruction = self.instruction[self.form.language]
        prompt = self.prompt(
            row["id"], self.ask(row), instruction, lambda row: self.ask(row) + self.form.answer(self.target(row))
        )
        return Example(row["id"], prompt, self.form.answer(self.target(row)), self.answers(row), self.meta(row))

    def prompt(self, id: str, asked: str, instruction: str, worked: Callable[[Row], str]) -> str:
        """Returns instruction, worked examples and question, with an empty line between them.

        `worked` turns a row into a worked example; a question is never its own example.
        """
        return "\n\n".join([*filter(None, [instruction]), *map(worked, shown(self._pool, self.form.shots, id)), asked])

    @cached_property
    def _pool(self) -> list[Row]:
        return self.shots() if self.form.shots else []


def ranked(rows: Sequence[Row]) -> list[Row]:
    """Returns the rows in the order of the hashes of their ids."""
    return sorted(rows, key=lambda row: hashed(row["id"]))


def shown(pool: Sequence[Row], count: int, without: str) -> list[Row]:
    """Returns the first `count` rows of a pool, passing over the one whose id is `without`."""
    return [row for row in pool[: count + 1] if row["id"] != without][:count]
