"""Training curves: each quantity of each stage, every step as it was (pale) and smoothed, and what the training took."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from yosegi.reporting.context import Context
from yosegi.reporting.curves import QUANTITIES, VALIDATION, Curve, smooth, stages
from yosegi.reporting.draw.marks import COLOURS, Mark, Plot, colours
from yosegi.reporting.draw.scale import POINTS, Scale, extremes, thin
from yosegi.reporting.format import plural
from yosegi.reporting.read import Results

TITLE = "Training"
LINK = "Training"

LEADING = ("loss", "reward")
"""The first chart of a stage, which also has the learning rate and the table of what the training took."""
DASHES = 3
"""Patterns of the lines of named validation sets."""


@dataclass
class Chart:
    """One quantity of one stage."""

    title: str
    key: str
    curves: Sequence[Curve]
    plot: Plot
    sets: list[str]
    rate: Plot | None
    has_checks: bool
    thinned: bool

    @property
    def together(self) -> bool:
        """Returns whether the trainings ran in one pass, and so have one time."""
        return len(self.curves) > 1 and len({(curve.time, curve.last("tokens_per_s")) for curve in self.curves}) == 1

    @property
    def legend(self) -> list[tuple[str, str]]:
        """Returns the colour of each curve."""
        return [(colour, name) for name, colour in colours(curve.name for curve in self.curves).items()]


def section(context: Context) -> dict[str, Any] | None:
    """Returns the charts of all stages."""
    constants = {"POINTS": POINTS, "DASHES": DASHES, "LEADING": LEADING, "smooth": smooth}
    return {"charts": drawn, **constants} if (drawn := charts(context.results)) else None


def charts(results: Results) -> list[Chart]:
    """Returns one chart per stage and quantity."""
    every = [_chart(stage, key, curves) for stage, curves in stages(results).items() for key in _keys(curves)]
    return [chart for chart in every if chart is not None]


def _keys(curves: Sequence[Curve]) -> list[str]:
    """Returns the quantities of a stage. Where there is a reward the loss says nothing: it begins at 0 in every step."""
    there = {key for curve in curves for row in curve.rows for key in row}
    if VALIDATION in there:
        there.add("loss")
    return [key for key in QUANTITIES if key in there and not (key == "loss" and "reward" in there)]


def _chart(stage: str, key: str, curves: Sequence[Curve]) -> Chart | None:
    values = [curve.points(key) for curve in curves]
    sets = list(dict.fromkeys(name for curve in curves for name in curve.sets)) if key == "loss" else []
    checks = [{of: curve.points(VALIDATION, of) for of in ("", *sets) if key == "loss"} for curve in curves]
    every = [point for points in (*values, *(p for of_curve in checks for p in of_curve.values())) for point in points]
    if not every:
        return None
    lowest, highest = min(y for _, y in every), max(y for _, y in every)
    log = key in ("loss", "kl") and lowest > 0 and highest / lowest > 6
    across, up = Scale([x for x, _ in every], room=0), Scale([lowest, highest], log=log)

    def mark(kind: str, colour: str, points: Sequence[tuple[float, float]], title: str) -> None:
        if points:
            plot.marks.append(Mark(kind, colour, [(across(x), up.down(y)) for x, y in points], title))

    words = key.replace("_", " ")
    plot = Plot(f"{words.capitalize()} by step of {plural(len(curves), 'training')}", scales=(across, up))
    plot.y = f"{words} by step{', log scale' if log else ''}"
    for i, (curve, points) in enumerate(zip(curves, values, strict=True)):
        colour, dashed = f"c{i % COLOURS}", " dashed" * (i // COLOURS % 2)
        smoothed = zip([x for x, _ in points], smooth([y for _, y in points]), strict=True)
        mark("raw", colour, extremes(points), curve.name)
        mark("line" + dashed, colour, thin([*smoothed]), curve.name)
        for of, losses in checks[i].items():
            kind, title = (
                (f"set{sets.index(of) % DASHES}", f"{curve.name} on {of}")
                if of
                else ("check", f"{curve.name}, validation")
            )
            mark(kind, colour, thin(losses), title)
    plot.x_ticks = [(place, label) for place, label in across.ticks(6) if "." not in label]
    plot.y_ticks = up.ticks_down(5)
    title = stage if key == "loss" else f"{stage}: {QUANTITIES[key]}"
    rate = _rate(curves, across) if key in LEADING else None
    has_checks, thinned = any(of_curve.get("") for of_curve in checks), any(len(v) > POINTS for v in values)
    return Chart(title, key, curves, plot, sets, rate, has_checks, thinned)


def _rate(curves: Sequence[Curve], across: Scale) -> Plot | None:
    top = max((value for curve in curves for value in curve.values("lr")), default=0.0)
    if top <= 0:
        return None
    plot = Plot(f"Learning rate by step, up to {top:g}", y=f"learning rate, up to {top:g}")
    for i, curve in enumerate(curves):
        points = [(across(x), 100 - 100 * y / top) for x, y in thin(curve.points("lr"))]
        plot.marks.append(Mark("rate", f"c{i % COLOURS}", points, curve.name))
    return plot
