"""Figures as the page draws them: places in per cent of a picture that stretches, so that text and dots keep their size."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from yosegi.findings import Bars, Cell, Dots, Estimate, Figure, Lines, Matrix, Reference, Scatter, Table
from yosegi.reporting import grids
from yosegi.reporting.curves import POINTS, thin, ticks
from yosegi.reporting.format import number
from yosegi.reporting.grids import NUMBERS, Grid

DOTS = 200
"""Rows drawn of a chart; more are left to the file."""
SCATTER = 600
NAMED = 14
"""Points of a scatter whose names stand beside them; of more, the pointer tells the name."""
MARKED = 40
"""A line up to so many points has a dot for each."""
LABEL = 6
"""Bars stand side by side when their labels are so short."""
GRID = 150
"""Rows and columns drawn of a matrix."""


@dataclass(frozen=True)
class Mark:
    """One path: its class, the colour of its group, and what the pointer tells."""

    kind: str
    hue: str
    path: str
    title: str = ""


@dataclass
class Plot:
    """Marks on two axes. Ticks are a place in per cent and a label."""

    says: str
    marks: list[Mark] = field(default_factory=list)
    x_ticks: list[tuple[float, str]] = field(default_factory=list)
    y_ticks: list[tuple[float, str]] = field(default_factory=list)
    x: str = ""
    y: str = ""
    legend: list[tuple[str, str]] = field(default_factory=list)
    names: list[tuple[float, float, str]] = field(default_factory=list)
    """Words in the picture: across, down, text."""
    square: bool = False
    reference: tuple[float, str] | None = None
    note: str = ""

    kind = "plot"


@dataclass(frozen=True)
class Line:
    """One row of a chart: its name, its colour, its mark, and its numbers as text."""

    label: str
    hue: str
    whisker: str
    mark: str
    value: str
    words: str
    """What stands beside the value: from where to where it may lie."""
    begins: bool
    """Whether a new group begins here."""


@dataclass
class Rows:
    """Values below each other on one axis."""

    says: str
    lines: list[Line] = field(default_factory=list)
    ticks: list[tuple[float, str]] = field(default_factory=list)
    x: str = ""
    legend: list[tuple[str, str]] = field(default_factory=list)
    reference: tuple[float, str] | None = None
    bars: bool = False
    note: str = ""

    kind = "rows"

    @property
    def has_words(self) -> bool:
        """Whether anything stands beside the values."""
        return any(line.words for line in self.lines)


@dataclass
class Heat:
    """A heat map: printed with its numbers where it is small, else a grid."""

    says: str
    rows: list[str]
    columns: list[str]
    values: list[list[float | None]]
    low: float
    top: float
    signed: bool = False
    """Whether some are below zero: they have the other colour."""
    grid: Grid | None = None
    note: str = ""

    kind = "heat"

    def depth(self, value: float | None) -> float:
        """0 to 1: how strong the colour of a value is."""
        if value is None or self.top <= self.low:
            return 0.0
        return (abs(value) - self.low) / (self.top - self.low)


Drawing = Plot | Rows | Heat


@dataclass(frozen=True)
class Printed:
    """A cell of a table: what stands in it, and its little axis (places in per cent) if its column has intervals."""

    text: str
    number: float | None = None
    best: bool = False
    interval: str = ""
    bar: tuple[float, float] | None = None
    mark: float | None = None


def print_table(table: Table, most: int = 200) -> tuple[list[bool], list[list[Printed]]]:
    """Which columns hold numbers, and the first rows. The intervals of one column share one axis."""
    columns = [[row[i] for row in table.rows] for i in range(len(table.columns))]
    numeric = [any(not isinstance(cell, str) for cell in column) for column in columns]
    scales = [_column_scale([cell for cell in column if isinstance(cell, Estimate)]) for column in columns]
    return numeric, [
        [_printed(cell, scale) for cell, scale in zip(row, scales, strict=True)] for row in table.rows[:most]
    ]


def _column_scale(cells: Sequence[Estimate]) -> "_Scale | None":
    if not any(cell.low is not None and cell.high is not None for cell in cells):
        return None
    return _Scale(v for cell in cells for v in (cell.value, cell.low, cell.high))


def _printed(cell: Cell, scale: "_Scale | None") -> Printed:
    if isinstance(cell, str):
        return Printed(cell)
    if not isinstance(cell, Estimate):
        cell, scale = Estimate(cell), None
    text, interval = number(cell.value), _interval(cell.low, cell.high)
    if scale is None or cell.value is None:
        return Printed(text, cell.value, cell.best, interval)
    bar = None
    if cell.low is not None and cell.high is not None:
        bar = (round(scale(cell.low), 1), round(scale(cell.high) - scale(cell.low), 1))
    return Printed(text, cell.value, cell.best, interval, bar, round(scale(cell.value), 1))


def draw(shape: Figure, key: str = "") -> Drawing | None:
    """The drawing; None if there is no number in it. `key` is unique on the page."""
    match shape:
        case Dots():
            return _dots(shape)
        case Scatter():
            return _scatter(shape)
        case Lines():
            return draw_lines(shape)
        case Bars():
            return _bars(shape)
        case Matrix():
            return _matrix(shape, key)


def _dots(shape: Dots) -> Rows | None:
    dots, groups = shape.rows[:DOTS], _groups(dot.group for dot in shape.rows)
    scale = _Scale([v for d in dots for v in (d.value, d.low, d.high)], shape.reference)
    if not scale.known:
        return None
    rows = Rows(
        _says_rows("Dots with intervals", [(dot.label, dot.value) for dot in dots]), x=shape.x, legend=_legend(groups)
    )
    for before, dot in zip([dots[0], *dots], dots, strict=False):
        whisker = ""
        if dot.low is not None and dot.high is not None:
            whisker = f"M{scale(dot.low):.1f} .5H{scale(dot.high):.1f}"
        mark = f"M{scale(dot.value):.1f} .5h0" if dot.value is not None else ""
        begins = dot.group != before.group
        rows.lines.append(
            Line(dot.label, groups[dot.group], whisker, mark, number(dot.value), _interval(dot.low, dot.high), begins)
        )
    rows.ticks, rows.reference = scale.ticks(6), scale.reference
    rows.note = _left_out(len(dots), len(shape.rows), "rows")
    return rows


def draw_bars(bars: Sequence[tuple[str, float | None, str]], x: str, reference: Reference | None = None) -> Rows:
    """Bars below each other: the name of each, its value, and words to stand beside it."""
    scale = _Scale([0.0, *(value for _, value, _ in bars)], reference)
    rows = Rows(_says_rows("Bars", [(name, value) for name, value, _ in bars]), x=x, bars=True)
    for name, value, words in bars:
        mark = f"M{scale(0):.1f} .5H{scale(value):.1f}" if value is not None else ""
        rows.lines.append(Line(name, "c0", "", mark, number(value), words, False))
    rows.ticks, rows.reference = scale.ticks(6), scale.reference
    return rows


def _bars(shape: Bars) -> Rows | Plot | None:
    bars = list(zip(shape.labels, shape.values, strict=True))[:DOTS]
    if all(value is None for _, value in bars):
        return None
    note = _left_out(len(bars), len(shape.labels), "bars")
    if max(len(label) for label, _ in bars) > LABEL:
        rows = draw_bars([(label, value, "") for label, value in bars], shape.y or shape.x, shape.reference)
        rows.note = note
        return rows
    scale = _Scale([0.0, *(value for _, value in bars)], shape.reference)
    plot = Plot(_says_rows("Bars", bars), x=shape.x, y=shape.y, note=note)
    wide, every, foot = 100 / len(bars), -(-len(bars) // 16), scale.down(0)
    for place, (label, value) in enumerate(bars):
        if value is not None:
            left, right = wide * (place + 0.1), wide * (place + 0.9)
            path = f"M{left:.1f} {foot:.1f}V{scale.down(value):.1f}H{right:.1f}V{foot:.1f}z"
            plot.marks.append(Mark("bar", "c0", path, f"{label}: {number(value)}"))
    plot.x_ticks = [(wide * (i + 0.5), label) for i, (label, _) in enumerate(bars) if i % every == 0]
    plot.y_ticks = [(100 - place, label) for place, label in scale.ticks(5)]
    plot.reference = (100 - scale.reference[0], scale.reference[1]) if scale.reference else None
    return plot


def _scatter(shape: Scatter) -> Plot | None:
    every = shape.known()
    if not every:
        return None
    groups = _groups(point.group for _, _, point in every)
    xs, ys = [x for x, _, _ in every], [y for _, y, _ in every]
    fit = least_squares(shape)
    ends = [(x, fit[0] * x + fit[1]) for x in (min(xs), max(xs))] if fit else []
    both = [*xs, *ys] if shape.diagonal else []
    across, up = _Scale([*xs, *both]), _Scale([*ys, *(y for _, y in ends), *both])
    says = f"Scatter of {len(xs)} points, {shape.x or 'x'} {number(min(xs))} to {number(max(xs))}, "
    says += f"{shape.y or 'y'} {number(min(ys))} to {number(max(ys))}"
    plot = Plot(says, x=shape.x, y=shape.y, legend=_legend(groups), square=True)
    if shape.diagonal:
        low, high = min(both), max(both)
        plot.marks.append(
            Mark("guide", "", f"M{across(low):.1f} {up.down(low):.1f}L{across(high):.1f} {up.down(high):.1f}")
        )
    if fit:
        plot.marks.append(Mark("fit", "", _path([(across(x), up.down(y)) for x, y in ends])))
        plot.note = f"The line is the least-squares fit: slope {number(fit[0])}, intercept {number(fit[1])}."
        plot.says += f"; least-squares slope {number(fit[0])}"
    plot.note = " ".join(filter(None, [plot.note, "Dotted: y = x." if shape.diagonal else ""]))
    points = thin(every, SCATTER)
    for x, y, point in points:
        title = f"{point.label or point.group}\n{number(x)}, {number(y)}".strip()
        path = f"M{across(x):.1f} {up.down(y):.1f}h0"
        plot.marks.append(Mark("dot", groups[point.group], path, title))
    if sum(bool(point.label) for _, _, point in points) <= NAMED:
        plot.names = [(across(x), up.down(y), point.label) for x, y, point in points if point.label]
    if len(points) < len(every):
        plot.note += f" Drawn: {len(points)} of {len(every):,} points, to keep the page small."
    plot.x_ticks, plot.y_ticks = across.ticks(5), [(100 - place, label) for place, label in up.ticks(5)]
    return plot


def least_squares(shape: Scatter) -> tuple[float, float] | None:
    """Slope and intercept, where a line is asked for and there is one."""
    xs, ys = [x for x, _, _ in shape.known()], [y for _, y, _ in shape.known()]
    if not shape.line or len(set(xs)) < 2:
        return None
    fit = statistics.linear_regression(xs, ys)
    return fit.slope, fit.intercept


def draw_lines(
    shape: Lines, strong: str | None = None, words: Callable[[float], str] | None = None, ends: Sequence[float] = ()
) -> Plot | None:
    """Lines, each with its band if it has one.

    Args:
        shape: what to draw.
        strong: the one series that stands out; the others are pale.
        words: what the pointer tells of an x instead of its number.
        ends: what the axis of y has to reach.
    """
    lines = {one.name: one.known() for one in shape.series}
    every = [point for points in lines.values() for point in points]
    if not every:
        return None
    across = _Scale([p[0] for p in every], room=0.02)
    up = _Scale([*ends, *(v for p in every for v in p[1:])], shape.reference)
    told = "; ".join(
        f"{name} {number(points[0][1])} to {number(points[-1][1])}" for name, points in [*lines.items()][:12] if points
    )
    plot = Plot(f"Lines, {shape.y or 'y'} by {shape.x or 'x'}: {told}", x=shape.x, y=shape.y)
    hues = ["ink" if one.name == strong else f"c{place % 10}" for place, one in enumerate(shape.series)]
    for place, one in enumerate(shape.series):
        hue, points = hues[place], thin(lines[one.name], POINTS)
        pale = " pale" if strong is not None and one.name != strong else ""
        band = [p for p in points if p[2] is not None and p[3] is not None]
        if len(band) > 1:
            lower = [(across(p[0]), up.down(p[2] or 0.0)) for p in band]
            upper = [(across(p[0]), up.down(p[3] or 0.0)) for p in reversed(band)]
            plot.marks.append(Mark("band", hue, _path([*lower, *upper]) + "z"))
        if len(points) > 1:
            dashed = " dashed" if place // 10 % 2 else ""
            plot.marks.append(
                Mark("line" + pale + dashed, hue, _path([(across(p[0]), up.down(p[1])) for p in points]), one.name)
            )
        if (len(points) <= MARKED and not pale) or len(points) == 1:
            for p in points:
                said = f"{one.name}\n{words(p[0]) if words else number(p[0])}: {number(p[1])}"
                said += f" ({_interval(p[2], p[3])})" if _interval(p[2], p[3]) else ""
                plot.marks.append(Mark("dot", hue, f"M{across(p[0]):.1f} {up.down(p[1]):.1f}h0", said))
        if len(points) < len(lines[one.name]):
            plot.note = f"Lines of more than {POINTS} points are thinned."
    plot.legend = (
        [(hue, one.name) for hue, one in zip(hues, shape.series, strict=True)] if len(shape.series) > 1 else []
    )
    plot.x_ticks, plot.y_ticks = across.ticks(6), [(100 - place, label) for place, label in up.ticks(5)]
    plot.reference = (100 - up.reference[0], up.reference[1]) if up.reference else None
    return plot


def _matrix(shape: Matrix, key: str) -> Heat | None:
    rows, columns = list(shape.rows[:GRID]), list(shape.columns[:GRID])
    values = [list(row[:GRID]) for row in shape.values[:GRID]]
    every = [value for row in values for value in row if value is not None]
    if not every:
        return None
    signed, low, top = min(every) < 0, min(every), max(every)
    if signed:  # two colours, as strong as they are far from 0
        low, top = 0.0, max(-low, top)
    says = f"Heat map of {len(rows)} by {len(columns)}, from {number(min(every))} to {number(max(every))}"
    heat = Heat(says, rows, columns, values, low, top, signed)
    if max(len(rows), len(columns)) > NUMBERS:
        heat.grid = grids.draw(says, key, rows, columns, values, top, low)
    if len(rows) < len(shape.rows) or len(columns) < len(shape.columns):
        heat.note = f"Drawn: the first {len(rows)} rows and {len(columns)} columns, to keep the page small."
    return heat


class _Scale:
    """From a number to its place between 0 and 100, with a little room at both ends."""

    def __init__(self, values: Iterable[float | None], reference: Reference | None = None, room: float = 0.04):
        self.known = [value for value in values if value is not None]
        every = [*self.known, *([reference.value] if reference and reference.value is not None else [])] or [0.0]
        low, high = min(every), max(every)
        low = high if high - low < 1e-9 * abs(high) else low  # a rounding error is not a range
        room = (high - low) * room or abs(high) * 0.5 or 0.5
        self.low = low - room if low else 0.0  # a scale that begins or ends with zero has nothing beyond it
        self.high = high + room if high or not low else 0.0
        self.reference = None
        if reference and reference.value is not None:
            self.reference = (self(reference.value), reference.label or f"{reference.value:g}")

    def __call__(self, value: float) -> float:
        return 100 * (value - self.low) / (self.high - self.low)

    def down(self, value: float) -> float:
        """The same, counted from the top."""
        return 100 - self(value)

    def ticks(self, about: int) -> list[tuple[float, str]]:
        return [(self(t), f"{t:,.10g}".replace("-", "−")) for t in ticks(self.low, self.high, about)]


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "".join(f"{'L' if i else 'M'}{x:.1f} {y:.1f}" for i, (x, y) in enumerate(points))


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{number(low)} to {number(high)}"


def _groups(names: Iterable[str]) -> dict[str, str]:
    """A colour for each group, in the order they come."""
    return {name: f"c{place % 10}" for place, name in enumerate(dict.fromkeys(names))}


def _legend(groups: dict[str, str]) -> list[tuple[str, str]]:
    return [(hue, name) for name, hue in groups.items() if name] if len(groups) > 1 else []


def _says_rows(what: str, rows: Sequence[tuple[str, float | None]]) -> str:
    (low, least), (high, most) = (end((v, name) for name, v in rows if v is not None) for end in (min, max))
    return f"{what}, {len(rows)} rows: from {least} {number(low)} to {most} {number(high)}"


def _left_out(drawn: int, there: int, what: str) -> str:
    return f"Drawn: the first {drawn} of {there} {what}, to keep the page small." if drawn < there else ""
