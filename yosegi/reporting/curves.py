"""What the trainings wrote as they went (metrics.jsonl): one curve per expert, by stage."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

from yosegi.reporting.format import known
from yosegi.reporting.read import Results, Row

QUANTITIES = {
    "reward": "reward",
    "loss": "loss",
    "kl": "KL from where the stage began, nats per token",
    "length": "tokens per answer",
    "no_variance": "share of the questions whose answers all have the same reward: nothing is learnt from them",
    "truncated": "share of the answers that were cut off",
    "drawing": "share of the time spent on sampling answers",
    "load_cv": "imbalance of the router's load, coefficient of variation",
    "entropy": "entropy of a token's routing weights, nats",
    "match_mass": "weight of the experts of the example's own type",
}
"""The columns that are drawn, each in a chart of its own, and what they are."""
VALIDATION = "validation_loss"


@dataclass
class Curve:
    """The rows of one expert, or of one pre-training, by step."""

    name: str
    rows: list[Row] = field(default_factory=list)

    def values(self, key: str) -> list[float]:
        """Returns the known values of a column."""
        return [value for row in self.rows if (value := known(row.get(key))) is not None]

    def last(self, key: str) -> float | None:
        """Returns the last known value of a column."""
        return next(reversed(self.values(key)), None)

    @property
    def sets(self) -> list[str]:
        """Returns the named sets of validation texts."""
        return list(dict.fromkeys(str(row["validation"]) for row in self.rows if row.get("validation")))

    @property
    def time(self) -> float | None:
        """Seconds until the last row."""
        return self.last("wall_s")

    @property
    def speed(self) -> float | None:
        """Returns the median of the tokens per second."""
        speeds = sorted(self.values("tokens_per_s"))
        return speeds[len(speeds) // 2] if speeds else None

    def points(self, key: str, of: str = "", x: str = "step") -> list[tuple[float, float]]:
        """Returns x and a column, where both are known; for a named set of validation texts, its own rows."""
        rows = (row for row in self.rows if str(row.get("validation") or "") == of)
        both = [(known(row.get(x)), known(row.get(key))) for row in rows]
        return [(x, y) for x, y in both if x is not None and y is not None]


def stages(results: Results) -> dict[str, list[Curve]]:
    """Returns the curves of every stage that has any quantity to draw."""
    several = sum(bool(run.metrics) for run in results.runs) > 1
    curves: dict[str, dict[str, Curve]] = {}
    for run in results.runs:
        seeds = {str(row["seed"]) for row in run.metrics if row.get("seed") is not None}
        for row in run.metrics:
            drawn = any(known(row.get(key)) is not None for key in (*QUANTITIES, VALIDATION))
            if known(row.get("step")) is None or not drawn:
                continue
            stage = str(row.get("stage") or "training")
            parts = [run.name] if several else []
            parts.append(str(row.get("expert") or ("" if several else stage)))
            if len(seeds) > 1 and row.get("seed") is not None:
                parts.append(f"seed {row['seed']}")
            name = " · ".join(filter(None, parts))
            curves.setdefault(stage, {}).setdefault(name, Curve(name)).rows.append(row)
    for by_name in curves.values():
        for curve in by_name.values():
            curve.rows.sort(key=lambda row: row["step"])
    return {stage: list(by_name.values()) for stage, by_name in curves.items()}


def smooth(values: Sequence[float]) -> list[float]:
    """Returns the mean of each value and its neighbours on both sides, a twenty-fifth of the curve in all: it does not lag."""
    half = min(max(2, len(values) // 50), len(values) // 10)  # a curve of a few points stays as it is
    sums = [0.0, *itertools.accumulate(values)]
    spans = [(max(0, i - half), min(len(values), i + half + 1)) for i in range(len(values))]
    return [(sums[end] - sums[start]) / (end - start) for start, end in spans]
