"""From the figures of findings.json (yosegi/findings.py) to marks; sections make theirs the same way."""

import statistics
from collections.abc import Callable, Sequence

from yosegi.findings import Bars, Dots, Figure, Lines, Matrix, Reference, Scatter
from yosegi.reporting.draw.marks import Drawing, Heat, Mark, Plot, Row, Rows, colours, column, legend, on_axis
from yosegi.reporting.draw.scale import POINTS, Scale, thin
from yosegi.reporting.format import between, number

ROWS = 200
"""Rows and bars drawn; more are left to the file."""
SCATTER = 600
NAMED = 14
"""Points of a scatter whose names stand beside them; of more, the pointer tells the name."""
MARKED = 40
"""A line up to so many points has a dot for each."""
LABEL = 6
"""Bars stand side by side when their labels are so short."""
GRID = 150
"""Rows and columns drawn of a matrix."""


def draw(figure: Figure, key: str = "") -> Drawing | None:
    """Returns the drawing, or None if there is no number in the figure. `key` is unique on the page."""
    if isinstance(figure, Matrix):
        return _matrix(figure, key)
    if isinstance(figure, Dots):
        return _dots(figure)
    if isinstance(figure, Scatter):
        return _scatter(figure)
    return draw_lines(figure) if isinstance(figure, Lines) else _bars(figure)


def _dots(figure: Dots) -> Rows | None:
    dots, groups = figure.rows[:ROWS], colours(dot.group for dot in figure.rows)
    scale = Scale([v for d in dots for v in (d.value, d.low, d.high)], figure.reference)
    if not scale.known:
        return None
    rows = [
        Row(
            label=dot.label,
            colour=groups[dot.group],
            axis=on_axis(scale.ends, dot.value, dot.low, dot.high),
            value=number(dot.value),
            details=between(dot.low, dot.high),
            new_group=dot.group != before.group,
        )
        for before, dot in zip([dots[0], *dots], dots, strict=False)
    ]
    description = _describe("Dots with intervals", [(dot.label, dot.value) for dot in dots])
    note = _left_out(len(dots), len(figure.rows), "rows")
    return Rows(description, rows, scale.ticks(6), figure.x, legend(groups), scale.reference, note=note)


def draw_bars(bars: Sequence[tuple[str, float | None, str]], x: str, reference: Reference | None = None) -> Rows:
    """Returns bars below each other: the name of each, its value, and words to stand beside it."""
    scale = Scale([0.0, *(value for _, value, _ in bars)], reference)
    rows = [
        Row(name, "c0", on_axis(scale.ends, value, None, None), number(value), details) for name, value, details in bars
    ]
    description = _describe("Bars", [(name, value) for name, value, _ in bars])
    return Rows(description, rows, scale.ticks(6), x, reference=scale.reference, zero=scale(0))


def _bars(figure: Bars) -> Rows | Plot | None:
    bars = list(zip(figure.labels, figure.values, strict=True))[:ROWS]
    if all(value is None for _, value in bars):
        return None
    note = _left_out(len(bars), len(figure.labels), "bars")
    if max(len(label) for label, _ in bars) > LABEL:
        rows = draw_bars([(label, value, "") for label, value in bars], figure.y or figure.x, figure.reference)
        rows.note = note
        return rows
    scale = Scale([0.0, *(value for _, value in bars)], figure.reference)
    wide, every, foot = 100 / len(bars), -(-len(bars) // 16), scale.down(0)
    plot = Plot(_describe("Bars", bars), x=figure.x, y=figure.y, note=note)
    for i, (label, value) in enumerate(bars):
        if value is not None:
            outline = column(wide * (i + 0.1), wide * (i + 0.9), foot, scale.down(value))
            plot.marks.append(Mark("bar", "c0", outline, f"{label}: {number(value)}"))
    plot.x_ticks = [(wide * (i + 0.5), label) for i, (label, _) in enumerate(bars) if i % every == 0]
    plot.y_ticks, plot.reference = scale.ticks_down(5), _down(scale)
    return plot


def _scatter(figure: Scatter) -> Plot | None:
    points = figure.known()
    if not points:
        return None
    groups = colours(point.group for *_, point in points)
    xs, ys = [x for x, _, _ in points], [y for _, y, _ in points]
    fit = statistics.linear_regression(xs, ys) if figure.line and len(set(xs)) > 1 else None
    ends = [(x, fit.slope * x + fit.intercept) for x in (min(xs), max(xs))] if fit else []
    both = [*xs, *ys] if figure.diagonal else []
    across, up = Scale([*xs, *both]), Scale([*ys, *(y for _, y in ends), *both])
    description = f"Scatter of {len(xs)} points, {figure.x or 'x'} {between(min(xs), max(xs))}, "
    description += f"{figure.y or 'y'} {between(min(ys), max(ys))}"
    plot = Plot(description, x=figure.x, y=figure.y, legend=legend(groups), square=True)
    notes = []
    if fit:
        plot.description += f"; least-squares slope {number(fit.slope)}"
        slope = f"slope {number(fit.slope)}, intercept {number(fit.intercept)}"
        notes.append(f"The line is the least-squares fit: {slope}.")
    if figure.diagonal:
        line = [(across(value), up.down(value)) for value in (min(both), max(both))]
        plot.marks.append(Mark("guide", "", line, "y = x"))
        notes.append("Dotted: y = x.")
    if fit:
        plot.marks.append(Mark("fit", "", [(across(x), up.down(y)) for x, y in ends], f"slope {number(fit.slope)}"))
    drawn = thin(points, SCATTER)
    for x, y, point in drawn:
        title = f"{point.label or point.group}\n{number(x)}, {number(y)}".strip()
        plot.marks.append(Mark("dot", groups[point.group], [(across(x), up.down(y))], title))
    if sum(bool(point.label) for *_, point in drawn) <= NAMED:
        plot.names = [(across(x), up.down(y), point.label) for x, y, point in drawn if point.label]
    if len(drawn) < len(points):
        notes.append(f"Drawn: {len(drawn)} of {len(points):,} points, to keep the page small.")
    plot.note = " ".join(notes)
    plot.x_ticks, plot.y_ticks = across.ticks(5), up.ticks_down(5)
    return plot


def draw_lines(
    figure: Lines,
    strong: str | None = None,
    name_of_x: Callable[[float], str] = number,
    reach: Sequence[float] = (),
) -> Plot | None:
    """Returns lines, each with its band if it has one; None if there is no number.

    Args:
        figure: what to draw.
        strong: the one series that stands out; the others are pale.
        name_of_x: what the pointer tells of an x.
        reach: what the axis of y has to reach.
    """
    lines = [(series.name, series.known()) for series in figure.series]
    every = [point for _, points in lines for point in points]
    if not every:
        return None
    across = Scale([p[0] for p in every], room=0.02)
    up = Scale([*reach, *(v for p in every for v in p[1:])], figure.reference)
    ends = "; ".join(f"{name} {between(points[0][1], points[-1][1])}" for name, points in lines[:12] if points)
    plot = Plot(f"Lines, {figure.y or 'y'} by {figure.x or 'x'}: {ends}", x=figure.x, y=figure.y, scales=(across, up))
    hues = ["ink" if name == strong else f"c{place % 10}" for place, (name, _) in enumerate(lines)]
    for place, (name, points) in enumerate(lines):
        colour, drawn = hues[place], thin(points)
        is_pale = strong is not None and name != strong
        band = [(x, low, high) for x, _, low, high in drawn if low is not None and high is not None]
        if len(band) > 1:
            outline = [*((x, low) for x, low, _ in band), *((x, high) for x, _, high in reversed(band))]
            plot.marks.append(Mark("band", colour, [(across(x), up.down(y)) for x, y in outline]))
        if len(drawn) > 1:
            kind = "line" + " pale" * is_pale + " dashed" * (place // 10 % 2)
            plot.marks.append(Mark(kind, colour, [(across(p[0]), up.down(p[1])) for p in drawn], name))
        if len(drawn) == 1 or len(drawn) <= MARKED and not is_pale:
            for x, y, low, high in drawn:
                interval = f" ({between(low, high)})" if between(low, high) else ""
                title = f"{name}\n{name_of_x(x)}: {number(y)}{interval}"
                plot.marks.append(Mark("dot", colour, [(across(x), up.down(y))], title))
        if len(drawn) < len(points):
            plot.note = f"Lines of more than {POINTS} points are thinned."
    if len(lines) > 1:
        plot.legend = [(colour, name) for colour, (name, _) in zip(hues, lines, strict=True)]
    plot.x_ticks, plot.y_ticks, plot.reference = across.ticks(6), up.ticks_down(5), _down(up)
    return plot


def _matrix(figure: Matrix, key: str) -> Heat | None:
    rows, columns = figure.rows[:GRID], figure.columns[:GRID]
    values = [row[:GRID] for row in figure.values[:GRID]]
    known = [value for row in values for value in row if value is not None]
    if not known:
        return None
    low, top = min(known), max(known)
    description = f"Heat map of {len(rows)} by {len(columns)}, from {between(low, top)}"
    if low < 0:  # two colours, as strong as they are far from 0
        low, top = 0.0, max(-low, top)
    heat = Heat(description, key, rows, columns, values, top, low)
    if len(rows) < len(figure.rows) or len(columns) < len(figure.columns):
        heat.note = f"Drawn: the first {len(rows)} rows and {len(columns)} columns, to keep the page small."
    return heat


def _down(scale: Scale) -> tuple[float, str] | None:
    return (100 - scale.reference[0], scale.reference[1]) if scale.reference else None


def _describe(what: str, rows: Sequence[tuple[str, float | None]]) -> str:
    (low, least), (high, most) = (end((v, name) for name, v in rows if v is not None) for end in (min, max))
    return f"{what}, {len(rows)} rows: from {least} {number(low)} to {most} {number(high)}"


def _left_out(drawn: int, there: int, what: str) -> str:
    return f"Drawn: the first {drawn} of {there} {what}, to keep the page small." if drawn < there else ""
