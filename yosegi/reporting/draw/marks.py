"""The primitives of a figure. Places are per cent of a picture that stretches, so that text and dots keep their size.

A colour is the name of a CSS class: c0 … c9, `ink`, or `other` (grey).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from typing import TypeVar

from yosegi.reporting.draw.scale import Scale, Tick
from yosegi.reporting.format import json_for_page

COLOURS = 10
"""How many there are; the eleventh group has the first colour again."""
NUMBERS = 16
"""A heat map with up to so many rows and columns has its numbers printed."""
LEVELS = 20
"""Shades of a larger one; the pointer tells the number."""

Legend = list[tuple[str, str]]
"""Colours and what they stand for."""
Values = Sequence[Sequence[float | None]]
Kind = TypeVar("Kind", int, str)


def colours(names: Iterable[str]) -> dict[str, str]:
    """Returns a colour for each name, in the order in which they come."""
    return {name: f"c{place % COLOURS}" for place, name in enumerate(dict.fromkeys(names))}


@dataclass(frozen=True)
class Mark:
    """One shape in a plot: a line, or dots, or (band and bar) a filled outline.

    Args:
        kind: line, raw, fit, guide, check, set0 …, dot, band or bar; "pale" and "dashed" may follow a line.
        colour: of its group.
        points: across and down.
        title: what the pointer tells.
    """

    kind: str
    colour: str
    points: Sequence[tuple[float, float]]
    title: str = ""

    @property
    def path(self) -> str:
        """Returns the path of an SVG."""
        if self.kind in ("dot", "check"):
            return "".join(f"M{round(x, 2):g} {round(y, 2):g}h0" for x, y in self.points)
        line = "".join(f"{'L' if i else 'M'}{round(x, 2):g} {round(y, 2):g}" for i, (x, y) in enumerate(self.points))
        return line + "z" if self.kind in ("band", "bar") else line


def column(left: float, right: float, foot: float, top: float) -> list[tuple[float, float]]:
    """Returns the outline of a bar that stands."""
    return [(left, foot), (left, top), (right, top), (right, foot)]


@dataclass
class Plot:
    """Marks on two axes."""

    description: str
    marks: list[Mark] = field(default_factory=list)
    x_ticks: list[Tick] = field(default_factory=list)
    y_ticks: list[Tick] = field(default_factory=list)
    x: str = ""
    y: str = ""
    legend: Legend = field(default_factory=list)
    names: list[tuple[float, float, str]] = field(default_factory=list)
    """Words in the picture: across, down, text."""
    square: bool = False
    reference: Tick | None = None
    note: str = ""
    scales: tuple[Scale, Scale] | None = None
    """Of x and of y, where the pointer reads the lines."""

    kind = "plot"


@dataclass(frozen=True)
class Axis:
    """What lies on one axis, in per cent: the interval (where it begins, how wide it is), the value, the base, the seeds."""

    bar: tuple[float, float] | None
    mark: float | None
    base: float | None = None
    seeds: tuple[float, ...] = ()


def on_axis(
    ends: tuple[float, float],
    value: float | None,
    low: float | None,
    high: float | None,
    base: float | None = None,
    seeds: Sequence[float] = (),
) -> Axis:
    """Returns the places of numbers on the axis from one number to another."""

    def place(number: float) -> float:
        return round(100 * (number - ends[0]) / (ends[1] - ends[0]), 2) if ends[1] > ends[0] else 50.0

    bar = None if low is None or high is None else (place(low), round(place(high) - place(low), 2))
    mark, at_base = (None if number is None else place(number) for number in (value, base))
    return Axis(bar, mark, at_base, tuple(map(place, seeds)))


@dataclass(frozen=True)
class Row:
    """One row of `Rows`: its name, where its value and its interval lie, and both as text."""

    label: str
    colour: str
    axis: Axis
    value: str
    details: str
    new_group: bool = False


@dataclass
class Rows:
    """Values below each other on one axis: dots with intervals, or bars from `zero`."""

    description: str
    rows: list[Row] = field(default_factory=list)
    ticks: list[Tick] = field(default_factory=list)
    x: str = ""
    legend: Legend = field(default_factory=list)
    reference: Tick | None = None
    zero: float | None = None
    note: str = ""

    kind = "rows"

    @property
    def has_details(self) -> bool:
        """Returns whether anything stands beside the values."""
        return any(row.details for row in self.rows)


@dataclass
class Heat:
    """A heat map: a table of its numbers where it is small, else a picture and the numbers as data for the pointer.

    Args:
        description: of what.
        key: unique on the page.
        rows: names.
        columns: names.
        values: [row][column]; None is left blank.
        top: what has the strongest colour, above zero or (in the other colour) below.
        low: what has none.
        printed: whether the numbers are printed; by default where there is room for them.
        note: what was left out.
        diagonal: whether the diagonal compares a thing with itself, and is no news.
        breaks: rows and columns before which a line is drawn.
    """

    description: str
    key: str
    rows: Sequence[str]
    columns: Sequence[str]
    values: Values
    top: float
    low: float = 0.0
    printed: bool | None = None
    note: str = ""
    diagonal: bool = False
    breaks: Sequence[int] = ()

    kind = "heat"

    def __post_init__(self):
        if self.printed is None:
            self.printed = max(len(self.rows), len(self.columns)) <= NUMBERS

    @property
    def signed(self) -> bool:
        """Returns whether any number is below zero."""
        return any(value is not None and value < 0 for row in self.values for value in row)

    def depth(self, value: float | None) -> float:
        """Returns how strong the colour of a value is, from 0 to 1."""
        if value is None or self.top <= self.low:
            return 0.0
        return max(0.0, min(1.0, (abs(value) - self.low) / (self.top - self.low)))

    @cached_property
    def paths(self) -> list[tuple[int, str]]:
        """Returns a path for each shade from 1 to LEVELS; those below zero are negative."""
        shades = [[round(LEVELS * self.depth(v)) * (-1 if (v or 0) < 0 else 1) for v in row] for row in self.values]
        return [(shade, path) for shade, path in tiles(shades).items() if shade]

    @cached_property
    def data(self) -> str:
        """Returns the numbers for the pointer."""
        values = [[None if v is None else round(v, 3) for v in row] for row in self.values]
        return json_for_page({"rows": self.rows, "columns": self.columns, "values": values})


Drawing = Plot | Rows | Heat


def tiles(rows: Sequence[Sequence[Kind]]) -> dict[Kind, str]:
    """Returns, for each kind of square in a grid, one path that draws all squares of that kind."""
    paths: dict[Kind, list[str]] = {}
    for y, row in enumerate(rows):
        x = 0
        for kind, same in groupby(row):
            width = len(list(same))
            paths.setdefault(kind, []).append(f"M{x} {y}.5h{width}")
            x += width
    return {kind: "".join(paths[kind]) for kind in sorted(paths)}


def legend(groups: Mapping[str, str]) -> Legend:
    """Returns colours and names, where there are several."""
    return [(colour, name) for name, colour in groups.items() if name] if len(groups) > 1 else []
