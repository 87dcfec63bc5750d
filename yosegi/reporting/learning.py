"""What the router of a bank did while it learnt with its experts: how even the load was, how sure it was, whom it preferred."""

from dataclasses import dataclass

from yosegi.findings import Lines, Series
from yosegi.reporting.curves import smooth
from yosegi.reporting.drawings import Plot, draw_lines
from yosegi.reporting.format import known
from yosegi.reporting.read import Found

WATCHED = {
    "load_cv": ("Imbalance of the load", "coefficient of variation", (0.0, 0.5)),
    "entropy": ("Entropy of a token's weights", "nats", (0.0,)),
    "match_mass": ("Weight of the experts of the example's own type", "share", (0.0, 1.0)),
}
"""Column of the metrics -> what it is called, its axis, and what that has to reach."""


@dataclass(frozen=True)
class Learning:
    """One quantity over all trainings that tell it."""

    title: str
    plot: Plot


def learning(found: Found) -> list[Learning]:
    """A chart a quantity, with a line for each training."""
    several = sum(bool(run.metrics) for run in found.runs) > 1
    drawn = []
    for column, (title, y, ends) in WATCHED.items():
        lines: dict[str, list[tuple[float, float]]] = {}
        for run in found.runs:
            for row in run.metrics:
                step, value = known(row.get("step")), known(row.get(column))
                if step is not None and value is not None:
                    name = str(row.get("expert") or run.name)
                    lines.setdefault(f"{run.name} · {name}" if several else name, []).append((step, value))
        series = [_series(name, sorted(points)) for name, points in lines.items()]
        plot = draw_lines(Lines(title, "", series, x="step", y=y), ends=ends) if series else None
        if plot is not None:
            drawn.append(Learning(title, plot))
    return drawn


def _series(name: str, points: list[tuple[float, float]]) -> Series:
    values = smooth([value for _, value in points])
    return Series(name, [(step, value) for (step, _), value in zip(points, values, strict=True)])
