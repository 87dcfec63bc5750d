"""The numbers of the leaderboard: every model on every task, the mean of its seeds, and how it stands against the base."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from yosegi.evaluation.exact import mean_ranks
from yosegi.reporting.comparisons import is_noise, low_is_good
from yosegi.reporting.draw.marks import Axis, on_axis
from yosegi.reporting.format import number
from yosegi.reporting.read import Measurement, Results

SHARE = (0.0, 1.0)
FIRST = "first metric of each task"


@dataclass(frozen=True)
class Score:
    """One model on one task in one metric, or its mean over tasks.

    `tint` says from -1 to 1 how much better than the base; `stale` that the arm was trained again since.
    """

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
    stale: bool = False

    @property
    def noise(self) -> bool:
        """Returns whether a paired test finds no difference from the base."""
        return self.compared is not None and is_noise(self.compared)


@dataclass(frozen=True)
class Line:
    """One row of the leaderboard. `mean` is over the tasks: of the metric, or of the ranks where tasks have several metrics."""

    model: str
    is_base: bool
    scores: list[Score]
    mean: Score


class Board:
    """One table of the leaderboard: one metric, or the first metric of each task (`metric` has that of each task)."""

    def __init__(self, results: Results, name: str, metric: dict[str, str]):
        self.results, self.name, self.metric = results, name, metric
        self.tasks = [task for task in results.tasks if task in metric]
        self.rows: dict[tuple[str, str], list[Measurement]] = {}
        for m in results.scores:
            if metric.get(m.task) == m.metric:
                self.rows.setdefault((m.model, m.task), []).append(m)
        self.values = {key: _mean(m.value for m in rows) or 0.0 for key, rows in self.rows.items()}
        self.compared = {
            (c.model, c.task, c.metric): c
            for c in results.comparisons
            if results.against(c) == results.bases.get(c.run)
        }
        self.changes = {
            (model, task): value - self.values[base, task]
            for (model, task), value in self.values.items()
            if (base := results.base_of[model] or "") != model and (base, task) in self.values
        }
        self.axis = {name: self._axis(name) for name in dict.fromkeys(metric.values())}
        alike = len(self.axis) == 1
        self.summary = "" if len(self.tasks) < 2 else "mean" if alike else "mean rank"
        self.all_low = not alike or all(map(low_is_good, self.axis))
        models = [model for model in results.models if any((model, task) in self.rows for task in self.tasks)]
        by_task = {
            model: {task: self.values[model, task] for task in self.tasks if (model, task) in self.values}
            for model in models
        }
        whole = {model: values for model, values in by_task.items() if len(values) == len(self.tasks)}
        self.means = (
            {model: statistics.fmean(values.values()) for model, values in whole.items()}
            if alike
            else mean_ranks(whole, [task for task in self.tasks if low_is_good(metric[task])])
        )
        bases = results.bases.values()
        self.lines = [
            Line(model, model in bases, [self._score(model, task) for task in self.tasks], self._mean_score(model))
            for model in models
        ]
        self.lines.sort(
            key=lambda line: (not line.is_base, line.mean.value is None, self.sign * (line.mean.value or 0))
        )

    @property
    def sign(self) -> int:
        """Returns what a mean is multiplied by, so that less is better."""
        return 1 if self.all_low else -1

    @property
    def ranked(self) -> tuple[list[Line], list[Line]]:
        """Those that have a mean, the best first, and apart those that are told the task (oracle) and so do not win."""
        oracles = {m.model for m in self.results.scores if m.row.get("router") == "oracle"}
        ranked = [line for line in self.lines if line.mean.value is not None]
        ranked.sort(key=lambda line: self.sign * (line.mean.value or 0))
        free, apart = ([line for line in ranked if (line.model in oracles) is is_oracle] for is_oracle in (False, True))
        return free, apart

    @property
    def low_is_good(self) -> list[str]:
        """Returns the metrics of which less is better."""
        return [name for name in self.axis if low_is_good(name)]

    @property
    def has_noise(self) -> bool:
        """Returns whether any score is inside the noise."""
        return any(score.noise for line in self.lines for score in line.scores)

    @property
    def has_seeds(self) -> bool:
        """Returns whether any score is the mean of several seeds."""
        return any(score.spread is not None for line in self.lines for score in line.scores)

    def head(self, task: str, with_metric: bool | None = None) -> str:
        """Returns the line under the name of a task: its metric (by default where they differ), how many examples, and chance."""
        rows = [m for (_, t), several in self.rows.items() if t == task for m in several]
        counts = sorted({m.n for m in rows if m.n is not None})
        chances = [chance for m in rows if (chance := m.number("chance")) is not None]
        words = [self.metric[task]] if (len(self.axis) > 1 if with_metric is None else with_metric) else []
        if counts:
            words.append(f"n = {counts[0]:,}" + (f" to {counts[-1]:,}" if len(counts) > 1 else ""))
        return ", ".join([*words, *(f"chance {number(chance)}" for chance in chances[:1])])

    def _axis(self, name: str) -> tuple[float, float]:
        rows = [m for several in self.rows.values() for m in several if m.metric == name]
        ends = [v for m in rows for v in (m.value, m.low, m.high) if v is not None]
        low, high = min(ends), max(ends)
        return SHARE if low >= -1e-6 and high <= 1 + 1e-6 else (low, high)  # an interval may end a rounding error off

    def _tint(self, change: float | None, name: str) -> float:
        if change is None:
            return 0.0
        reach = max(abs(change) for (_, task), change in self.changes.items() if self.metric[task] == name)
        reach = max(reach, 0.1 if self.axis[name] == SHARE else 1e-9)
        return max(-1.0, min(1.0, change / reach)) * (-1 if low_is_good(name) else 1)

    def _score(self, model: str, task: str) -> Score:
        if not (rows := self.rows.get((model, task))):
            return Score(None)
        name, value, change = self.metric[task], self.values[model, task], self.changes.get((model, task))
        seeds = [m.value for m in rows if m.value is not None]
        seeds = seeds if len(seeds) > 1 else []
        low, high = _mean(m.low for m in rows), _mean(m.high for m in rows)
        of_task = [v for (_, t), v in self.values.items() if t == task]
        return Score(
            value,
            low,
            high,
            change,
            self._tint(change, name),
            best=_is_best(value, of_task, low_is_good(name)),
            spread=statistics.stdev(seeds) if seeds else None,
            axis=on_axis(self.axis[name], value, low, high, None if change is None else value - change, seeds),
            rows=rows,
            compared=self.compared.get((model, task, name)) if len(rows) == 1 else None,
            stale=(model, task) in self.results.stale,
        )

    def _mean_score(self, model: str) -> Score:
        """Over the tasks, for a model that was measured on all of them."""
        if (value := self.means.get(model)) is None:
            return Score(None)
        base = self.results.base_of[model] or ""
        change = value - self.means[base] if base in self.means and base != model else None
        best = _is_best(value, list(self.means.values()), self.all_low)
        tint = 0.0 if change is None else -change / len(self.means)
        if self.summary != "mean rank":
            tint = self._tint(change, self.metric[self.tasks[0]])
        return Score(value, change=change, tint=tint, best=best)


def boards(results: Results) -> list[Board]:
    """Returns the board of the first metric of every task, then one for each other metric, models in one order."""
    metrics: dict[str, dict[str, None]] = {}
    for m in results.scores:
        metrics.setdefault(m.task, {})[m.metric] = None
    first = {task: next(iter(names)) for task, names in metrics.items()}
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


def _is_best(value: float, values: Sequence[float], low: bool) -> bool:
    """Returns whether it is the best of several; where all are the same, none is."""
    return value == (min if low else max)(values) and (len(values) == 1 or len(set(values)) > 1)


def _mean(values: Iterable[float | None]) -> float | None:
    known_values = [value for value in values if value is not None]
    return statistics.fmean(known_values) if known_values else None
