"""A heat map too fine for numbers: one path for each shade, and the numbers as data for the pointer."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from yosegi.reporting.items import json_for_page

LEVELS = 20
"""Shades of a drawn grid; the pointer tells the number."""
NUMBERS = 16
"""A matrix up to this size has its numbers printed instead."""

Values = Sequence[Sequence[float | None]]


@dataclass(frozen=True)
class Grid:
    """`paths` has a path for each shade, `below` the same for what is less than zero, in the other colour."""

    title: str
    key: str
    rows: list[str]
    columns: list[str]
    paths: list[tuple[float, str]]
    data: str
    below: list[tuple[float, str]] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        """About what it adds to the page."""
        return 500 + len(self.data) + sum(len(path) for _, path in (*self.paths, *self.below))


def draw(
    title: str, key: str, rows: list[str], columns: list[str], values: Values, top: float, low: float = 0.0
) -> Grid:
    """Draw it.

    Args:
        title: what it is of.
        key: unique on the page.
        rows: names.
        columns: names.
        values: [row][column]; None is left blank.
        top: what has the strongest colour, above zero or below.
        low: what has none.
    """
    shades: tuple[dict[int, list[str]], dict[int, list[str]]] = ({}, {})
    span = top - low or 1.0
    for y, row in enumerate(values):
        for x, value in enumerate(row):
            if value is not None and (shade := round(LEVELS * max(0.0, min(1.0, (abs(value) - low) / span)))):
                shades[value < 0].setdefault(shade, []).append(f"M{x} {y}.5h1")
    printed = [[None if v is None else round(v, 3) for v in row] for row in values]
    data = json_for_page({"rows": rows, "columns": columns, "values": printed})
    above, below = ([(s / LEVELS, "".join(paths)) for s, paths in sorted(of.items())] for of in shades)
    return Grid(title, key, rows, columns, above, data, below)
