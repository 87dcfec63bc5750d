"""Scores: the value of a page as one number. (texts) -> a number for each; a rule then says which numbers are kept.

A score judges one text independently of the others: a classifier, a word list, the likelihood under a model. A rule is a
threshold, a range, or a share of the pages; partitions/by_score applies it to examples, curate/ to a stream of pages.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from yosegi.errors import Invalid
from yosegi.spec import make_method

Values = list[float | None]
"""One number for each text; None where there is nothing to judge, as in an empty page. A score never keeps such a page."""


class Score:
    """The contract of the drawer. The constructor is the configuration; a text's number does not depend on the other texts.

    Attributes:
        name: the name of the number.
        best: whether "high" or "low" numbers are kept.
        note: what a reader should know, such as the accuracy of a trained classifier.
    """

    name: str
    best: Literal["high", "low"] = "high"
    note: str = ""

    def of(self, texts: Sequence[str]) -> Values:
        """Returns a finite number for each text, in their order."""
        raise NotImplementedError

    def about(self) -> dict[str, Any]:
        """Returns what decides its numbers, as JSON: scores with equal values are equal."""
        return {"name": self.name}

    def write(self, folder: Path) -> None:
        """Writes what was learnt to `folder`; by default nothing."""


@dataclass(frozen=True)
class Rule:
    """Which numbers are kept: those from `low` to `high`, or the best share `keep`; without any, all.

    Args:
        low: the least number that is kept.
        high: the greatest number that is kept.
        keep: a share above 0 and up to 1, rounded up to whole pages; of equal numbers the first are kept.
    """

    low: float | None = None
    high: float | None = None
    keep: float | None = None

    def __post_init__(self) -> None:
        if self.keep is not None and not 0 < self.keep <= 1:
            raise Invalid(f"keep={self.keep:g}: it must be the share of the pages to keep, above 0 and at most 1.")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise Invalid(f"threshold={self.low:g}..{self.high:g}: the range ends before it begins.")

    def passes(self, value: float | None) -> bool:
        """Returns whether a number is in the range. (A share depends on the other numbers: `best`.)"""
        if value is None:
            return self.low is None and self.high is None and self.keep is None
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)

    def about(self) -> str:
        """Returns the rule in words."""
        if self.keep is not None:
            return f"the best {self.keep:.4g} of the pages"
        if self.low is not None and self.high is not None:
            return f"{self.low:g} to {self.high:g}"
        if self.low is None and self.high is None:
            return "any"
        return f"at least {self.low:g}" if self.low is not None else f"at most {self.high:g}"


def rule(score: Score, keep: float | None = None, threshold: float | str | None = None) -> Rule:
    """Returns the rule for a share, for a threshold that the good side of the score must reach, or for a range "LOW..HIGH".

    Args:
        score: its `best` is the good side.
        keep: a share above 0 and up to 1.
        threshold: a number, or a range of which one end may be missing.
    """
    if keep is not None and threshold is not None:
        raise Invalid(f"{score.name}: give keep or threshold, not both.")
    if threshold is None:
        return Rule(keep=keep)
    first, dots, last = str(threshold).partition("..")
    try:
        low, high = (float(end) if end.strip() else None for end in (first, last))
        if any(end is not None and not math.isfinite(end) for end in (low, high)) or (low is None and high is None):
            raise ValueError
    except ValueError:
        raise Invalid(f"threshold={threshold!r}: a number, or a range such as 20..200, 20.. or ..200.") from None
    if dots:
        return Rule(low, high)
    return Rule(low=low) if score.best == "high" else Rule(high=low)


def best(values: Values, count: int, side: str) -> list[bool]:
    """Returns True for the `count` best values; of equal values the first."""
    sign = -1 if side == "high" else 1
    order = sorted((i for i, v in enumerate(values) if v is not None), key=lambda i: (sign * values[i], i))  # type: ignore[operator]
    chosen = set(order[:count])
    return [i in chosen for i in range(len(values))]


def share(keep: float, pages: int) -> int:
    """Returns the number of pages in a share: rounded up, but 0.3 of 10 is 3 whatever the last bit of 0.3 is."""
    return min(pages, math.ceil(keep * pages - 1e-9))


def load(spec: str) -> Score:
    """Returns a score: `length`, `keywords{words=[鉄道,軌道]}`, `perplexity{base=smollm2,windows=2}`, `package.module:Class`."""
    return make_method("scores", spec)
