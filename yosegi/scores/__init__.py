"""Scores: what a page is worth, as one number. (texts) -> a number each; a rule then says which numbers are kept.

A classifier, a word list, the likelihood under a model: whatever says something about one text without the others. Rules are
a threshold, a range, or a share of the pages; partitions/by_score divides examples by them, and curate/ a stream of pages.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from yosegi.errors import Invalid
from yosegi.spec import make_method

Values = list[float | None]
"""One number a text; None where there is nothing to judge, as in an empty page. Such a page is never kept by the score."""


class Score:
    """The contract of the drawer. The constructor is the configuration; a text's number does not depend on the other texts.

    `name` is what the number is called; `best` says whether high or low numbers are kept; `note` is what a reader should
    know of it, such as how good a trained classifier is.
    """

    name: str
    best: Literal["high", "low"] = "high"
    note: str = ""

    def of(self, texts: Sequence[str]) -> Values:
        """One finite number a text, in their order."""
        raise NotImplementedError

    def about(self) -> dict[str, Any]:
        """What decides its numbers, as JSON: two scores that say the same are the same."""
        return {"name": self.name}

    def write(self, folder: Path) -> None:
        """Keep below `folder` what was learnt, for those that learn. By default nothing."""


@dataclass(frozen=True)
class Rule:
    """Which numbers are kept: those from `low` to `high`, or the best share `keep`. Without any, all.

    Args:
        low: the least that is kept.
        high: the most that is kept.
        keep: a share above 0 and up to 1, rounded up to whole pages; of equal numbers the first are kept.
    """

    low: float | None = None
    high: float | None = None
    keep: float | None = None

    def __post_init__(self) -> None:
        if self.keep is not None and not 0 < self.keep <= 1:
            raise Invalid(f"keep={self.keep:g}: it is the share of the pages to keep, above 0 and at most 1.")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise Invalid(f"threshold={self.low:g}..{self.high:g}: nothing is in a range that ends before it begins.")

    def passes(self, value: float | None) -> bool:
        """Whether a number is in the range; the share is another matter."""
        if value is None:
            return self.low is None and self.high is None and self.keep is None
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)

    def about(self) -> str:
        """In words."""
        if self.keep is not None:
            return f"the best {self.keep:.4g} of the pages"
        if self.low is not None and self.high is not None:
            return f"{self.low:g} to {self.high:g}"
        if self.low is None and self.high is None:
            return "kept whatever it is"
        return f"at least {self.low:g}" if self.low is not None else f"at most {self.high:g}"


def rule(score: Score, keep: float | None = None, threshold: float | str | None = None) -> Rule:
    """A rule as it is written: a share, or a threshold that the good side of the score has to reach, or "LOW..HIGH".

    Args:
        score: says which side is good.
        keep: a share above 0 and up to 1.
        threshold: a number, or a range of which one end may be missing.
    """
    if keep is not None and threshold is not None:
        raise Invalid(f"{score.name}: keep and threshold are two ways to say how much; choose one.")
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
    """Which are the `count` best; of equal ones the first."""
    sign = -1 if side == "high" else 1
    order = sorted((i for i, v in enumerate(values) if v is not None), key=lambda i: (sign * values[i], i))  # type: ignore[operator]
    chosen = set(order[:count])
    return [i in chosen for i in range(len(values))]


def share(keep: float, pages: int) -> int:
    """How many pages a share is: rounded up, but 0.3 of 10 is 3 whatever the last bit of 0.3 says."""
    return min(pages, math.ceil(keep * pages - 1e-9))


def load(spec: str) -> Score:
    """Returns a score: `length`, `keywords{words=[鉄道,軌道]}`, `perplexity{base=house,windows=2}`, `package.module:Class`."""
    return make_method("scores", spec)
