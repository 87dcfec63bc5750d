"""The numbers of the leaderboard: every model on every task, the mean of its seeds, and how it stands against the base."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from yosegi.reporting.comparisons import is_noise, low_is_good
from yosegi.reporting.draw.marks import Axis, on_axis
from yosegi.reporting.format import known, number
from yosegi.reporting.read import Measurement, Results

SHARE = (0.0, 1.0)
FIRST = "first metric of each task"


@dataclass(frozen=True)
class Score:
    """One model on one task in one metric, or its mean over tasks. `tint` says from -1 to 1 how much better than the base."""

    value: float | None
    low: float | None = None
    high: float | None = None
    change: float | None = None
    tint: float = 0.0
    best: bool = False
    spread: float | None = None
    axis: Axis | None = None
    rows: Sequence[Measurement] = ()
    compared: Measurement | None = None

    @property
    def noise(self) -> bool:
        """Whether a paired test finds no difference from the base."""
        return self.compared is not None and is_noise(self.compared)


@dataclass(frozen=True)
class Line:
    """One row of the leaderboard."""

    model: str
    is_base: bool
    scores: list[Score]
    mean: Score


@dataclass
class Board:
    """One table of the leaderboard: one metric, or the first metric of each task.

    Args:
        results: what was measured.
        name: of the metric.
        metric: of each task.
    """

    results: Results
    name: str
    metric: dict[str, str]
    lines: list[Line] = field(default_factory=list)

    def __post_init__(self):
        self.tasks = [task for task in self.results.tasks if task in self.metric]
        self.rows: dict[tuple[str, str], list[Measurement]] = {}
        for m in self.results.scores:
            if self.metric.get(m.task) == m.metric:
                self.rows.setdefault((m.model, m.task), []).append(m)
        self.values = {key: _mean(m.value for m in rows) or 0.0 for key, rows in self.rows.items()}
        self.best: dict[str, float] = {}  # where all have the same, none is
        for task in self.tasks:
            values = [value for (_, t), value in self.values.items() if t == task]
            if len(values) == 1 or len(set(values)) > 1:
                self.best[task] = (min if low_is_good(self.metric[task]) else max)(values)
        bases = self.results.bases
        self.compared = {
            (c.model, c.task, c.metric): c
            for c in self.results.comparisons
            if self.results.against(c) == bases.get(c.run)
        }
        self.changes: dict[tuple[str, str], float] = {}
        for (model, task), value in self.values.items():
            base = self.results.base_of[model]
            if base is not None and base != model and (base, task) in self.values:
                self.changes[model, task] = value - self.values[base, task]
        self.axis = {name: self._axis(name) for name in dict.fromkeys(self.metric.values())}
        self.reach = {
            name: max(
                [abs(change) for (_, task), change in self.changes.items() if self.metric[task] == name]
                + [0.1 if axis == SHARE else 1e-9]
            )
            for name, axis in self.axis.items()
        }
        low = {low_is_good(name) for name in self.metric.values()}
        self.all_low = low == {True}
        models = [model for model in self.results.models if any((model, task) in self.rows for task in self.tasks)]
        # Shares may be averaged with shares; a perplexity and a share may not.
        averaged = len(low) == 1 and (len(self.axis) == 1 or set(self.axis.values()) == {SHARE})
        self.means = {
            model: statistics.fmean(self.values[model, task] for task in self.tasks)
            for model in models
            if averaged and all((model, task) in self.values for task in self.tasks)
        }
        self.has_means = averaged and len(self.tasks) > 1
        self.lines = [
            Line(model, model in bases.values(), [self._score(model, task) for task in self.tasks], self._mean(model))
            for model in models
        ]
        sign = 1 if self.all_low else -1
        self.lines.sort(key=lambda line: (not line.is_base, line.mean.value is None, sign * (line.mean.value or 0)))

    @property
    def low_is_good(self) -> list[str]:
        """The metrics of which less is better."""
        return [name for name in self.axis if low_is_good(name)]

    @property
    def has_noise(self) -> bool:
        """Whether any score is inside the noise."""
        return any(score.noise for line in self.lines for score in line.scores)

    @property
    def has_seeds(self) -> bool:
        """Whether any score is the mean of several seeds."""
        return any(score.spread is not None for line in self.lines for score in line.scores)

    def head(self, task: str, with_metric: bool | None = None) -> str:
        """Returns the line under the name of a task: its metric (by default where they differ), how many examples, and chance."""
        rows = [m for (_, t), several in self.rows.items() if t == task for m in several]
        counts = sorted({m.n for m in rows if m.n is not None})
        n = f"n = {counts[0]:,}" + (f" to {counts[-1]:,}" if len(counts) > 1 else "") if counts else ""
        chance = next((value for m in rows if (value := known(m.row.get("chance"))) is not None), None)
        guess = f"chance {number(chance)}" if chance is not None else ""
        with_metric = len(self.axis) > 1 if with_metric is None else with_metric
        return ", ".join(filter(None, [self.metric[task] if with_metric else "", n, guess]))

    def _axis(self, name: str) -> tuple[float, float]:
        rows = [m for several in self.rows.values() for m in several if m.metric == name]
        ends = [v for m in rows for v in (m.value, m.low, m.high) if v is not None]
        low, high = min(ends), max(ends)
        return SHARE if low >= -1e-6 and high <= 1 + 1e-6 else (low, high)  # an interval may end a rounding error off

    def _tint(self, change: float | None, name: str) -> float:
        if change is None:
            return 0.0
        return max(-1.0, min(1.0, change / self.reach[name])) * (-1 if low_is_good(name) else 1)

    def _score(self, model: str, task: str) -> Score:
        if not (rows := self.rows.get((model, task))):
            return Score(None)
        name, value, change = self.metric[task], self.values[model, task], self.changes.get((model, task))
        seeds = [m.value for m in rows if m.value is not None]
        low, high = _mean(m.low for m in rows), _mean(m.high for m in rows)
        base = None if change is None else value - change
        return Score(
            value,
            low,
            high,
            change,
            self._tint(change, name),
            best=value == self.best.get(task),
            spread=statistics.stdev(seeds) if len(seeds) > 1 else None,
            axis=on_axis(self.axis[name], value, low, high, base, seeds if len(seeds) > 1 else ()),
            rows=rows,
            compared=self.compared.get((model, task, name)) if len(rows) == 1 else None,
        )

    def _mean(self, model: str) -> Score:
        """Over the tasks, for a model that was measured on all of them."""
        if (value := self.means.get(model)) is None:
            return Score(None)
        base = self.results.base_of[model] or ""
        change = value - self.means[base] if base in self.means and base != model else None
        best = (min if self.all_low else max)(self.means.values())
        return Score(value, change=change, tint=self._tint(change, self.metric[self.tasks[0]]), best=value == best)


def boards(results: Results) -> list[Board]:
    """Returns the board of the first metric of every task, then one for each other metric, models in one order."""
    metrics: dict[str, list[str]] = {}
    for m in results.scores:
        if m.metric not in (seen := metrics.setdefault(m.task, [])):
            seen.append(m.metric)
    first = {task: names[0] for task, names in metrics.items()}
    if not first:
        return []
    names = set(first.values())
    made = [Board(results, names.pop() if len(names) == 1 else FIRST, first)]
    for name in dict.fromkeys(name for several in metrics.values() for name in several):
        tasks = {task: name for task, several in metrics.items() if name in several}
        if tasks != first:
            made.append(Board(results, name, tasks))
    order = {line.model: i for i, line in enumerate(made[0].lines)}
    for board in made:
        board.lines.sort(key=lambda line: order.get(line.model, len(order)))
    return made


def _mean(values: Iterable[float | None]) -> float | None:
    known_values = [value for value in values if value is not None]
    return statistics.fmean(known_values) if known_values else None
