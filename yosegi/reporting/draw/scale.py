"""From numbers to places on an axis, in per cent, and the round numbers that label it."""

import math
from collections.abc import Iterable, Sequence
from typing import TypeVar

from yosegi.findings import Reference

Tick = tuple[float, str]
"""A place in per cent and its label."""

T = TypeVar("T")

POINTS = 300
"""Points drawn of one line; a longer one is thinned."""


class Scale:
    """Maps a number to its place between 0 and 100, with a little room at both ends.

    Args:
        values: what has to fit; None is skipped.
        reference: a line across the axis, which has to fit as well.
        room: the share of the range that is left free at each end.
        log: whether equal ratios are equally far apart; for positive values only.
    """

    def __init__(
        self,
        values: Iterable[float | None],
        reference: Reference | None = None,
        room: float = 0.04,
        log: bool = False,
    ):
        self.known = [value for value in values if value is not None]
        line = reference.value if reference else None
        every = [*self.known, *([] if line is None else [line])] or [0.0]
        self.log, self._of = log, math.log if log else float
        low, high = self._of(min(every)), self._of(max(every))
        low = high if high - low < 1e-9 * abs(high) else low  # a rounding error is not a range
        free = (high - low) * room if high > low else abs(high) * 0.5 or 0.5
        # A linear scale that begins or ends with zero has nothing beyond it.
        self.low = low - free if low or log else 0.0
        self.high = high + free if high or log or not low else 0.0
        self.reference: Tick | None = None
        if reference and line is not None:
            self.reference = (self(line), reference.label or f"{line:g}")

    def __call__(self, value: float) -> float:
        """Returns the place of a number."""
        return 100 * (self._of(value) - self.low) / (self.high - self.low)

    @property
    def ends(self) -> tuple[float, float]:
        """Where a linear scale begins and ends."""
        return self.low, self.high

    def down(self, value: float) -> float:
        """Returns the same place counted from the top, as pictures are."""
        return 100 - self(value)

    def ticks(self, about: int) -> list[Tick]:
        """Returns round numbers along the axis."""
        if self.log:
            numbers = _log_ticks(math.exp(self.low), math.exp(self.high))
        else:
            numbers = ticks(self.low, self.high, about)
        return [(self(number), f"{number:,.10g}".replace("-", "−")) for number in numbers]

    def ticks_down(self, about: int) -> list[Tick]:
        """Returns the same, counted from the top."""
        return [(100 - place, label) for place, label in self.ticks(about)]


def ticks(low: float, high: float, about: int) -> list[float]:
    """Returns round numbers between two others."""
    if high <= low:
        return [low]
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 10) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    numbers = [round(m * 10.0**power, 12) for power in powers for m in (1, 2, 5)]
    return [number for number in numbers if low <= number <= high]


def thin(points: Sequence[T], most: int = POINTS) -> list[T]:
    """Returns every k-th point, and the last."""
    step = -(-len(points) // most)
    return list(points) if step <= 1 else [*points[::step], points[-1]]


def extremes(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Returns the lowest and the highest point of each stretch, so that a spike survives the thinning."""
    if len(points) <= POINTS:
        return list(points)
    width = -(-2 * len(points) // POINTS)
    parts = [points[i : i + width] for i in range(0, len(points), width)]
    return [point for part in parts for point in sorted({min(part, key=lambda p: p[1]), max(part, key=lambda p: p[1])})]
