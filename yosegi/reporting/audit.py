"""The audit of what was read out of the answers: how many could not be read, and a few of them to look at.

A score is only as good as its extractor. Three things a table of scores hides: texts in which no answer was found, texts that
the limit cut off, and wrong answers that contain the target word for word.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from yosegi.reporting.answers import RIGHT, Asked
from yosegi.reporting.format import cut
from yosegi.reporting.read import Row

SHOWN = 3
"""Examples of each model and task."""
PAGE = 24
"""Examples of one page."""
LONGEST = 60
"""Characters of a target that is looked for in wrong answers: of a longer one (a whole solution) nothing follows."""


@dataclass(frozen=True)
class Looked:
    """One answer, and what is the matter with it."""

    id: str
    why: str
    prompt: str
    target: str
    said: str


@dataclass(frozen=True)
class Audit:
    """One model on one task, all seeds together."""

    model: str
    task: str
    n: int
    unread: int
    cut_off: int
    contains: int | None
    """Wrong answers in which the target stands; None where targets are too long to look for."""
    examples: list[Looked]

    @property
    def clean(self) -> bool:
        """Whether there is nothing to look at."""
        return not (self.unread or self.cut_off or self.contains)


def audit(asked: Asked) -> Iterator[Audit]:
    """Every model of one task."""
    for model, seeds in asked.said.items():
        rows = [row for by_id in seeds for row in by_id.values()]
        unread = [row for row in rows if row.get("parsed") is False]
        cut_off = [row for row in rows if row.get("truncated") is True and row["score"] < RIGHT]
        short = [row for row in rows if 2 <= len(str(row.get("target") or "").strip()) <= LONGEST]
        contains = [row for row in short if row["score"] < RIGHT and row.get("parsed") is not False and _in(row)]
        reasons = [("not readable", unread), ("contains the target", contains), ("cut off", cut_off)]
        seen: dict[str, Looked] = {}
        for turn in range(SHOWN):  # one of each kind in turn
            for why, some in reasons:
                if turn < len(some) and len(seen) < SHOWN:
                    seen.setdefault(str(some[turn]["id"]), _looked(some[turn], why))
        found = len(contains) if short else None
        yield Audit(model, asked.task, len(rows), len(unread), len(cut_off), found, list(seen.values()))


def _in(row: Row) -> bool:
    return str(row["target"]).strip() in str(row.get("prediction") or "")


def _looked(row: Row, why: str) -> Looked:
    prompt = " ".join(str(row.get("prompt") or "").split())
    texts = (str(row.get("target") or ""), str(row.get("prediction") or ""))
    return Looked(
        str(row["id"]), why, prompt if len(prompt) <= 160 else "…" + prompt[-160:], *(cut(t, 240) for t in texts)
    )
