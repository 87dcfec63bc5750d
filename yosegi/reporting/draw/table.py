"""What stands in a table beside text: numbers with their interval, drawn on a little axis that a whole column shares."""

from collections.abc import Sequence
from dataclasses import dataclass

from yosegi.findings import Cell, Estimate, Table
from yosegi.reporting.draw.marks import Axis, on_axis
from yosegi.reporting.draw.scale import Scale
from yosegi.reporting.format import between, number


@dataclass(frozen=True)
class Printed:
    """A cell: what stands in it, the number behind it, and its interval in words and on the axis."""

    text: str
    value: float | None = None
    best: bool = False
    interval: str = ""
    axis: Axis | None = None


def print_table(table: Table, most: int = 200) -> tuple[list[bool], list[list[Printed]]]:
    """Returns which columns hold numbers, and the first rows."""
    columns = [[row[i] for row in table.rows] for i in range(len(table.columns))]
    numeric = [any(not isinstance(cell, str) for cell in column) for column in columns]
    scales = [_scale([cell for cell in column if isinstance(cell, Estimate)]) for column in columns]
    return numeric, [[_print(cell, s) for cell, s in zip(row, scales, strict=True)] for row in table.rows[:most]]


def _scale(cells: Sequence[Estimate]) -> Scale | None:
    if not any(cell.low is not None and cell.high is not None for cell in cells):
        return None
    return Scale(value for cell in cells for value in (cell.value, cell.low, cell.high))


def _print(cell: Cell, scale: Scale | None) -> Printed:
    if isinstance(cell, str):
        return Printed(cell)
    if not isinstance(cell, Estimate):
        return Printed(number(cell), cell)
    axis = None
    if scale is not None and cell.value is not None:
        axis = on_axis(scale.ends, cell.value, cell.low, cell.high)
    return Printed(number(cell.value), cell.value, cell.best, between(cell.low, cell.high), axis)
