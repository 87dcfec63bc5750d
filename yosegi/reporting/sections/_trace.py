"""One router of routing.json, checked.

Shapes: L layers, E experts.
"""

import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from yosegi.reporting.format import known
from yosegi.reporting.read import Row

Matrix = list[list[float]]
ROWS = 32
"""Layers drawn of one model; more are averaged within each block of the model, then neighbour by neighbour."""


@dataclass
class Trace:
    """What evaluation/routing.py wrote about one router; `key` is unique on the page, `room` the bytes it may add to it."""

    row: Row
    experts: list[str]
    key: str
    room: int

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

    def take(self, sizes: Sequence[int], part: float = 1.0) -> list[bool]:
        """Returns which of several drawings fit into a part of the room, and takes it up."""
        room, fits = int(self.room * part), []
        for size in sizes:
            fits.append(size <= room)
            room, self.room = (room - size, self.room - size) if size <= room else (room, self.room)
        return fits


def mean(rows: Sequence[Sequence[float]]) -> list[float]:
    """Returns the mean of each column."""
    return [statistics.fmean(column) for column in zip(*rows, strict=True)]


def fold(names: list[str], weights_LE: Matrix) -> tuple[list[str], Matrix]:
    """Returns at most ROWS rows: first the linears of one block become one row, then neighbouring blocks."""
    if len(names) <= ROWS:
        return names, weights_LE
    blocks: dict[str, Matrix] = {}
    for name, row in zip(names, weights_LE, strict=True):
        number = re.search(r"(?:^|\.)(\d+)(?:\.|$)", name)
        blocks.setdefault(f"block {number[1]}" if number else name, []).append(row)
    names, values = list(blocks), [mean(rows) for rows in blocks.values()]
    step = -(-len(names) // ROWS)
    starts = range(0, len(names), step)
    return [names[i] + " +" * (step > 1) for i in starts], [mean(values[i : i + step]) for i in starts]
