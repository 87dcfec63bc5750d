"""Training curves: what every expert's rows say of its steps, as it was and smoothed, in units of a 100 x 100 picture."""

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from yosegi.reporting.format import known
from yosegi.reporting.read import Found, Row

POINTS = 300
"""Points drawn of one curve; a longer one is thinned."""

QUANTITIES = {
    "reward": "reward",
    "loss": "loss",
    "kl": "KL from where the stage began, nats a token",
    "length": "tokens of an answer",
    "no_variance": "share of the questions whose answers were all worth the same: nothing is learnt from them",
    "truncated": "share of the answers that were cut off",
    "drawing": "share of the time spent drawing answers",
}
"""The columns that are drawn, each in a chart of its own, and what they are."""

T = TypeVar("T")


@dataclass
class Curve:
    """One quantity of one expert, or of one pre-training."""

    name: str
    rows: list[Row]
    key: str = "loss"
    raw: str = ""
    smooth: str = ""
    validation: str = ""
    checks: list[tuple[int, str]] = field(default_factory=list)
    """Of each named set of validation texts its place among those of the chart, and a line."""
    rate: str = ""

    def last(self, key: str) -> float | None:
        """The last known value of a column."""
        return next((v for row in reversed(self.rows) if (v := known(row.get(key))) is not None), None)

    def first(self, key: str) -> float | None:
        """The first known value of a column."""
        return next((v for row in self.rows if (v := known(row.get(key))) is not None), None)

    @property
    def steps(self) -> int:
        """The last step."""
        return int(self.last("step") or 0)

    @property
    def end(self) -> float | None:
        """Its smoothed value at the end."""
        smoothed = smooth([y for _, y in self.points(self.key)])
        return smoothed[-1] if smoothed else None

    @property
    def sets(self) -> list[str]:
        """The named sets of validation texts."""
        return list(dict.fromkeys(str(row["validation"]) for row in self.rows if row.get("validation")))

    def points(self, key: str, of: str = "") -> list[tuple[float, float]]:
        """Step and value, where both are known; of a named set of validation texts, its own."""
        rows = (row for row in self.rows if str(row.get("validation") or "") == of)
        both = [(known(row.get("step")), known(row.get(key))) for row in rows]
        return [(x, y) for x, y in both if x is not None and y is not None]


@dataclass
class Chart:
    """One quantity of one stage on one pair of axes. Ticks are a place in per cent and a label."""

    stage: str
    key: str
    curves: list[Curve]
    log: bool = False
    x_ticks: list[tuple[float, str]] = field(default_factory=list)
    y_ticks: list[tuple[float, str]] = field(default_factory=list)
    rate_top: float | None = None
    thinned: bool = False
    has_validation: bool = False
    sets: list[str] = field(default_factory=list)
    """Named sets of validation texts."""

    @property
    def leads(self) -> bool:
        """Whether it is the first of its stage, which also says what the training took."""
        return self.key in ("loss", "reward")


def charts(found: Found) -> list[Chart]:
    """One chart a stage and quantity."""
    several = len([run for run in found.runs if run.metrics]) > 1
    stages: dict[str, dict[str, Curve]] = {}
    for run in found.runs:
        seeds = {str(row["seed"]) for row in run.metrics if row.get("seed") is not None}
        for row in run.metrics:
            if known(row.get("step")) is None or all(
                known(row.get(key)) is None for key in (*QUANTITIES, "validation_loss")
            ):
                continue
            stage = str(row.get("stage") or "training")
            parts = [run.name] if several else []
            parts.append(str(row.get("expert") or (stage if not several else "")))
            if len(seeds) > 1 and row.get("seed") is not None:
                parts.append(f"seed {row['seed']}")
            name = " · ".join(filter(None, parts))
            stages.setdefault(stage, {}).setdefault(name, Curve(name, [])).rows.append(row)
    drawn = [
        _chart(stage, key, list(curves.values())) for stage, curves in stages.items() for key in _drawn(curves.values())
    ]
    return [chart for chart in drawn if chart is not None]


def _drawn(curves: Iterable[Curve]) -> list[str]:
    """The quantities of a stage. Where there is a reward the loss says nothing: it begins at 0 in every step."""
    there = {key for curve in curves for row in curve.rows for key in row}
    return [
        key
        for key in QUANTITIES
        if key in there or key == "loss" and "validation_loss" in there
        if not (key == "loss" and "reward" in there)
    ]


def smooth(values: list[float]) -> list[float]:
    """The mean of each value and its neighbours on both sides, a twenty-fifth of the curve in all: it does not lag."""
    half = min(max(2, len(values) // 50), len(values) // 10)  # a curve of a few points stays as it is
    sums = [0.0, *itertools.accumulate(values)]
    spans = [(max(0, i - half), min(len(values), i + half + 1)) for i in range(len(values))]
    return [(sums[end] - sums[start]) / (end - start) for start, end in spans]


def _chart(stage: str, key: str, curves: list[Curve]) -> Chart | None:
    curves = [Curve(curve.name, sorted(curve.rows, key=lambda row: row["step"]), key) for curve in curves]
    values = {curve.name: curve.points(key) for curve in curves}
    checks = {curve.name: curve.points("validation_loss") if key == "loss" else [] for curve in curves}
    named = {
        (curve.name, of): curve.points("validation_loss", of) for curve in curves for of in curve.sets if key == "loss"
    }
    every = [point for points in (*values.values(), *checks.values(), *named.values()) for point in points]
    if not every:
        return None
    chart = Chart(stage, key, curves, sets=list(dict.fromkeys(of for _, of in named)))
    x_low, x_high = min(x for x, _ in every), max(x for x, _ in every)
    y_low, y_high = min(y for _, y in every), max(y for _, y in every)
    chart.log = key in ("loss", "kl") and y_low > 0 and y_high / y_low > 6
    scale = math.log if chart.log else float
    room = (scale(y_high) - scale(y_low)) * 0.05 or 0.5
    bottom, top = scale(y_low) - room, scale(y_high) + room
    chart.has_validation = any(checks.values())

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - x_low) / (x_high - x_low) if x_high > x_low else 0.5
        return 100 * across, 100 * (1 - (scale(y) - bottom) / (top - bottom))

    rates = [y for curve in curves for _, y in curve.points("lr") if chart.leads]
    chart.rate_top = max(rates) if rates and max(rates) > 0 else None
    for curve in curves:
        points = values[curve.name]
        chart.thinned = chart.thinned or len(points) > POINTS
        smoothed = list(zip([x for x, _ in points], smooth([y for _, y in points]), strict=True))
        curve.raw = _line([place(*p) for p in _extremes(points)])
        curve.smooth = _line([place(*p) for p in thin(smoothed)])
        curve.validation = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in (place(*p) for p in thin(checks[curve.name])))
        curve.checks = [
            (chart.sets.index(of), _line([place(*p) for p in thin(named[curve.name, of])])) for of in curve.sets
        ]
        if chart.rate_top:
            top_rate = chart.rate_top
            curve.rate = _line([(place(x, y_high)[0], 100 - 100 * y / top_rate) for x, y in thin(curve.points("lr"))])
    chart.x_ticks = [(place(t, y_high)[0], f"{t:,.0f}") for t in ticks(x_low, x_high, 6) if t == int(t)]
    levels = _log_ticks(math.exp(bottom), math.exp(top)) if chart.log else ticks(bottom, top, 5)
    chart.y_ticks = [(place(x_low, t)[1], f"{t:g}") for t in levels]
    return chart


def ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers between two others."""
    if high <= low:
        return [low]
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 10) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    every = [round(m * 10.0**power, 12) for power in powers for m in (1, 2, 5)]
    return [t for t in every if low <= t <= high]


def thin(points: list[T], most: int = POINTS) -> list[T]:
    """Every k-th point, and the last."""
    step = -(-len(points) // most)
    return points if step <= 1 else [*points[::step], points[-1]]


def _extremes(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The lowest and the highest of each stretch, so that a spike survives the thinning."""
    if len(points) <= POINTS:
        return points
    width = -(-2 * len(points) // POINTS)
    out: list[tuple[float, float]] = []
    for i in range(0, len(points), width):
        part = points[i : i + width]
        out += sorted({min(part, key=lambda p: p[1]), max(part, key=lambda p: p[1])})
    return out


def _line(points: list[tuple[float, float]]) -> str:
    return "".join(f"{'L' if i else 'M'}{x:.1f} {y:.1f}" for i, (x, y) in enumerate(points))


def cost_of(curve: Curve) -> dict[str, Any]:
    """What a training took: for the table under the chart."""
    speeds = [v for row in curve.rows if (v := known(row.get("tokens_per_s"))) is not None]
    return {
        "steps": curve.steps,
        "first": curve.first(curve.key),
        "end": curve.end,
        "validation": next((loss for _, loss in reversed(curve.points("validation_loss"))), None)
        if curve.key == "loss"
        else None,
        "wall_s": curve.last("wall_s"),
        "speed": sorted(speeds)[len(speeds) // 2] if speeds else None,
    }
