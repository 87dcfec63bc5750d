"""One router of routing.json, checked.

Shapes: L layers, E experts.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from yosegi.reporting.format import known
from yosegi.reporting.read import Row

T = TypeVar("T")
Matrix = list[list[float]]


@dataclass
class Trace:
    """What evaluation/routing.py wrote about one router; `key` is unique on the page, `squares` how many of a kind are drawn."""

    row: Row
    experts: list[str]
    key: str
    squares: int

    @cached_property
    def tasks(self) -> dict[str, Matrix]:
        """By task the weights, [L][E]."""
        return {str(task): self.checked(weights_LE) for task, weights_LE in (self.row.get("tasks") or {}).items()}

    def layers(self, count: int) -> list[str]:
        """Returns the names of so many layers, or numbers where the file has none that fit."""
        names = [str(layer) for layer in self.row.get("layers") or []]
        return names if len(names) == count else [f"layer {i}" for i in range(count)]

    @property
    def averaged(self) -> int:
        """How many layers there are, where a row of the file is the mean of several."""
        return int(known(self.row.get("averaged")) or 0)

    @property
    def even(self) -> float:
        """Twice an equal share: the weight of the strongest colour is at least that, so that equal shares look it."""
        return 2 / max(len(self.experts), 2)

    def checked(self, weights: Any) -> Matrix:
        """Returns the rows if each has one number for each expert, else raises ValueError."""
        if not weights or any(len(row) != len(self.experts) or None in map(known, row) for row in weights):
            raise ValueError("one weight for each expert")
        return weights

    def first(self, drawings: Sequence[T], size: int) -> tuple[list[T], int]:
        """Returns as many drawings of so many squares as there is room for, and how many are left out."""
        shown = list(drawings[: self.squares // max(size, 1)])
        return shown, len(drawings) - len(shown)


def mean(rows: Sequence[Sequence[float]]) -> list[float]:
    """Returns the mean of each column."""
    return [statistics.fmean(column) for column in zip(*rows, strict=True)]
