"""What was learnt and what was forgotten for it: the loss on texts that nobody learnt from, by the tokens that were read."""

from collections.abc import Sequence
from dataclasses import dataclass

from yosegi.findings import Lines, Series
from yosegi.reporting.curves import Chart, Curve
from yosegi.reporting.drawings import Plot, draw_lines
from yosegi.reporting.format import known


@dataclass(frozen=True)
class Panel:
    """One set of texts, a line a training. Every panel has all trainings, in one order: they keep their colours."""

    name: str
    shape: Lines
    plot: Plot | None


@dataclass(frozen=True)
class Arm:
    """One training: how much it read, how fast, and of each set the loss before and after."""

    name: str
    tokens: float | None
    speed: float | None
    ends: list[tuple[float, float] | None]


@dataclass(frozen=True)
class Watched:
    """All trainings that were watched."""

    panels: list[Panel]
    arms: list[Arm]


def watched(charts: Sequence[Chart]) -> Watched | None:
    """The trainings of all stages side by side; None if nobody was measured on a set that has a name."""
    stages = [chart.stage for chart in charts if chart.sets]
    found: dict[str, Curve] = {}
    for chart in charts:
        for curve in (curve for curve in chart.curves if curve.sets):
            found[f"{chart.stage} · {curve.name}" if len(stages) > 1 else curve.name] = curve
    if not found:
        return None
    sets = list(dict.fromkeys(name for chart in charts for name in chart.sets))
    counted = all(known(row.get("tokens")) is not None for curve in found.values() for row in _rows(curve))
    panels = [_panel(name, found, "tokens" if counted else "step") for name in sets]
    return Watched(panels, [_arm(name, curve, sets) for name, curve in found.items()])


def _panel(of: str, curves: dict[str, Curve], x: str) -> Panel:
    series = [Series(name, [*_points(curve, of, x)]) for name, curve in curves.items()]
    shape = Lines(of, "", series, x="tokens read" if x == "tokens" else x, y="loss, nats a token")
    if (plot := draw_lines(shape)) is not None:
        plot.legend = []  # the table of the arms has the colours
    return Panel(of, shape, plot)


def _arm(name: str, curve: Curve, sets: Sequence[str]) -> Arm:
    ends: list[tuple[float, float] | None] = []
    for of in sets:
        losses = [loss for _, loss in _points(curve, of, "step")]
        ends.append((losses[0], losses[-1]) if losses else None)
    speeds = sorted(v for row in curve.rows if (v := known(row.get("tokens_per_s"))) is not None)
    return Arm(name, curve.last("tokens"), speeds[len(speeds) // 2] if speeds else None, ends)


def _rows(curve: Curve) -> list[dict]:
    return [row for row in curve.rows if row.get("validation") and known(row.get("validation_loss")) is not None]


def _points(curve: Curve, of: str, x: str) -> list[tuple[float, float]]:
    both = [(known(r.get(x)), known(r.get("validation_loss"))) for r in _rows(curve) if str(r["validation"]) == of]
    return [(a, b) for a, b in both if a is not None and b is not None]
