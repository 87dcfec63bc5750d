"""The leaderboard: every model on every task with its interval, and the paired comparisons behind it."""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from yosegi.reporting.format import known, number, probability, signed
from yosegi.reporting.read import Found, Measurement

LOW_IS_GOOD = ("loss", "perplexity", "ppl", "error", "nll", "bits_per_byte", "bits_per_character", "parse_failures")
SHARE = (0.0, 1.0)
ALPHA = 0.05
"""A paired difference with a p-value below this is called a difference; anything else is noise."""

LISTED = 400
"""Comparisons listed on one page; of more, those with the smallest p."""


@dataclass(frozen=True)
class Cell:
    """One model on one task in one metric. Positions are percentages of the little axis under the number."""

    value: float | None
    title: str = ""
    change: float | None = None
    tint: float = 0.0
    best: bool = False
    noise: bool = False
    spread: float | None = None
    seeds: int = 1
    bar: tuple[float, float] | None = None
    mark: float | None = None
    base_mark: float | None = None
    dots: tuple[float, ...] = ()


@dataclass(frozen=True)
class Line:
    """One row of the leaderboard."""

    model: str
    is_base: bool
    cells: list[Cell]
    mean: Cell


@dataclass
class Panel:
    """One metric of the switch."""

    name: str
    metric: dict[str, str]
    """Of each task."""
    tasks: list[str]
    heads: list[str]
    """Under each task: its metric where they differ, and how many examples."""
    lines: list[Line] = field(default_factory=list)
    low_is_good: list[str] = field(default_factory=list)
    """Those metrics of which less is better."""
    axis: dict[str, tuple[float, float]] = field(default_factory=dict)
    """From where to where the little axes of a metric run."""
    has_means: bool = False
    several_seeds: bool = False
    has_base: bool = False
    has_noise: bool = False


@dataclass(frozen=True)
class Comparison:
    """One model against another on the same examples. Positions are percentages of the difference axis."""

    model: str
    against: str
    task: str
    metric: str
    seed: str
    diff: float | None
    low: float | None
    high: float | None
    gained: int | None
    lost: int | None
    p: float
    verdict: str
    bar: tuple[float, float] | None = None
    mark: float | None = None


def panels(found: Found) -> list[Panel]:
    """The first holds the first metric of every task; then one for each other metric."""
    metrics: dict[str, list[str]] = {}
    for m in found.plain:
        if m.metric not in (known_metrics := metrics.setdefault(m.task, [])):
            known_metrics.append(m.metric)
    first = {task: names[0] for task, names in metrics.items()}
    if not first:
        return []
    names = list(dict.fromkeys(first.values()))
    boards = [_panel(found, names[0] if len(names) == 1 else "first metric of each task", first)]
    for name in dict.fromkeys(name for several in metrics.values() for name in several):
        tasks = {task: name for task, several in metrics.items() if name in several}
        if tasks != first:
            boards.append(_panel(found, name, tasks))
    order = {line.model: i for i, line in enumerate(boards[0].lines)}  # one order for every figure of the page
    for board in boards:
        board.lines.sort(key=lambda line: order.get(line.model, len(order)))
    return boards


class _Table:
    """The numbers of one panel, while it is being made."""

    def __init__(self, found: Found, metric: dict[str, str]):
        self.found, self.metric = found, metric
        self.tasks = [task for task in found.tasks if task in metric]
        self.rows: dict[tuple[str, str], list[Measurement]] = {}
        for m in found.plain:
            if metric.get(m.task) == m.metric:
                self.rows.setdefault((m.model, m.task), []).append(m)
        self.values = {key: _mean(m.value for m in several) or 0.0 for key, several in self.rows.items()}
        self.best: dict[str, float] = {}
        for (_, task), value in self.values.items():
            better = min if low_is_good(metric[task]) else max
            self.best[task] = better(value, self.best.get(task, value))
        self.models = [model for model in found.models if any((model, task) in self.rows for task in self.tasks)]
        self.base = {m.model: found.bases.get(m.run, "") for m in found.plain}
        self.compared = {
            (c.model, c.task, c.metric): c for c in found.comparisons if found.against(c) == found.bases.get(c.run)
        }
        self.changes = {
            (model, task): value - self.values[self.base[model], task]
            for (model, task), value in self.values.items()
            if (self.base[model], task) in self.values and self.base[model] != model
        }
        self.axis = {name: self._axis(name) for name in dict.fromkeys(metric.values())}
        self.reach = {
            name: max(
                [abs(change) for (_, task), change in self.changes.items() if metric[task] == name]
                + [0.1 if axis == SHARE else 1e-9]
            )
            for name, axis in self.axis.items()
        }
        low = {low_is_good(name) for name in metric.values()}
        self.low_is_good = low == {True}
        # Shares may be averaged with shares; a perplexity and a share may not.
        self.has_means = len(low) == 1 and (len(self.axis) == 1 or set(self.axis.values()) == {SHARE})
        self.means = {
            model: statistics.fmean(self.values[model, task] for task in self.tasks)
            for model in self.models
            if self.has_means and all((model, task) in self.values for task in self.tasks)
        }

    def _axis(self, name: str) -> tuple[float, float]:
        several = [m for rows in self.rows.values() for m in rows if m.metric == name]
        ends = [v for m in several for v in (m.value, m.low, m.high) if v is not None]
        low, high = min(ends), max(ends)
        return SHARE if low >= -1e-6 and high <= 1 + 1e-6 else (low, high)  # an interval may end a rounding error off

    def tint(self, change: float | None, name: str) -> float:
        """-1 to 1: how much worse or better than the base."""
        if change is None:
            return 0.0
        return max(-1.0, min(1.0, change / self.reach[name])) * (-1 if low_is_good(name) else 1)

    def cell(self, model: str, task: str) -> Cell:
        """One model on one task."""
        several = self.rows.get((model, task))
        if not several:
            return Cell(None)
        name, base, value = self.metric[task], self.base[model], self.values[model, task]
        axis, change = self.axis[name], self.changes.get((model, task))
        seeds = [m.value for m in several if m.value is not None]
        low, high = _mean(m.low for m in several), _mean(m.high for m in several)
        compared = self.compared.get((model, task, name)) if len(several) == 1 else None
        spread = statistics.stdev(seeds) if len(seeds) > 1 else None
        says = [f"{model} on {task}", f"{name} {number(value)}"]
        if spread is not None:
            says.append(f"mean of {len(seeds)} seeds, standard deviation {number(spread)}")
            says.append("; ".join(f"seed {m.seed}: {number(m.value)}" for m in several))
        if low is not None and high is not None:
            says.append(f"95 % interval {number(low)} to {number(high)}" + (" (mean over seeds)" if spread else ""))
        if several[0].n is not None:
            says.append(f"{several[0].n} examples")
        if change is not None:
            says.append(f"{signed(change)} against {base} ({number(self.values[base, task])})")
        if compared:
            says.append(f"paired p {probability(known(compared.row['p_value']))}")
            says[-1] += ": inside the noise" if is_noise(compared) else ""
        return Cell(
            value=value,
            title="\n".join(says),
            change=change,
            tint=self.tint(change, name),
            best=value == self.best[task],
            noise=compared is not None and is_noise(compared),
            spread=spread,
            seeds=len(seeds),
            bar=(_place(low, axis), _place(high, axis)) if low is not None and high is not None else None,
            mark=_place(value, axis),
            base_mark=_place(self.values[base, task], axis) if change is not None else None,
            dots=tuple(_place(v, axis) for v in seeds) if len(seeds) > 1 else (),
        )

    def mean(self, model: str) -> Cell:
        """Over the tasks, for a model that was measured on all of them."""
        if (value := self.means.get(model)) is None:
            return Cell(None, title="Not measured on every task: no mean.")
        base = self.base[model]
        change = value - self.means[base] if base in self.means and base != model else None
        says = f"{model}\nmean of {len(self.tasks)} tasks {number(value)}"
        says += f"\n{signed(change)} against {base} ({number(self.means[base])})" if change is not None else ""
        best = (min if self.low_is_good else max)(self.means.values())
        return Cell(value, says, change, self.tint(change, self.metric[self.tasks[0]]), value == best)

    def head(self, task: str) -> str:
        """Under the name of the task: its metric where they differ, and how many examples."""
        counts = sorted({m.n for (_, t), several in self.rows.items() if t == task for m in several if m.n is not None})
        n = f"n = {counts[0]:,}" + (f" to {counts[-1]:,}" if len(counts) > 1 else "") if counts else ""
        rows = (m.row for (_, t), several in self.rows.items() if t == task for m in several)
        guess = next((chance for row in rows if (chance := known(row.get("chance"))) is not None), None)
        chance = f"chance {number(guess)}" if guess is not None else ""
        return ", ".join(filter(None, [self.metric[task] if len(self.axis) > 1 else "", n, chance]))


def _panel(found: Found, name: str, metric: dict[str, str]) -> Panel:
    table = _Table(found, metric)
    lines = [
        Line(model, model in found.bases.values(), [table.cell(model, task) for task in table.tasks], table.mean(model))
        for model in table.models
    ]
    sign = 1 if table.low_is_good else -1
    lines.sort(key=lambda line: (not line.is_base, line.mean.value is None, sign * (line.mean.value or 0)))
    return Panel(
        name=name,
        metric=metric,
        tasks=table.tasks,
        heads=[table.head(task) for task in table.tasks],
        lines=lines,
        low_is_good=[name for name in table.axis if low_is_good(name)],
        axis=table.axis,
        has_means=table.has_means and len(table.tasks) > 1,
        several_seeds=any(cell.seeds > 1 for line in lines for cell in line.cells),
        has_base=bool(table.changes),
        has_noise=any(cell.noise for line in lines for cell in line.cells),
    )


def low_is_good(metric: str) -> bool:
    """Whether less of it is better."""
    return any(word in metric.lower() for word in LOW_IS_GOOD)


def is_noise(m: Measurement) -> bool:
    """Whether a paired comparison finds no difference: as its row says, else by its p-value."""
    said = m.row.get("inside_noise")
    return said if isinstance(said, bool) else (known(m.row.get("p_value")) or 0.0) >= ALPHA


def comparisons(found: Found, models: list[str]) -> list[Comparison]:
    """Every paired comparison by task, models in the order of the page, drawn on one axis for each metric."""
    seeds = {str(m.seed) for m in found.comparisons}
    reach: dict[str, float] = {}
    rows: list[Comparison] = []
    for m in found.comparisons:
        diff, low, high, p = (known(m.row.get(key)) for key in ("diff", "diff_low", "diff_high", "p_value"))
        assert p is not None  # found.comparisons has no other rows
        gained, lost = (None if known(m.row.get(key)) is None else int(m.row[key]) for key in ("gained", "lost"))
        up = diff if diff is not None else (gained or 0) - (lost or 0)
        good = up < 0 if low_is_good(m.metric) else up > 0
        verdict = "noise" if is_noise(m) or up == 0 else "better" if good else "worse"
        reach[m.metric] = max([reach.get(m.metric, 0.0), *(abs(v) for v in (diff, low, high) if v is not None)])
        rows.append(
            Comparison(
                model=m.model,
                against=found.against(m),
                task=m.task,
                metric=m.metric,
                seed=str(m.seed) if len(seeds) > 1 else "",
                diff=diff,
                low=low,
                high=high,
                gained=gained,
                lost=lost,
                p=p,
                verdict=verdict,
            )
        )

    def drawn(row: Comparison) -> Comparison:
        wide = reach[row.metric] or 1.0
        axis = (-wide, wide)
        return replace(
            row,
            bar=(_place(row.low, axis), _place(row.high, axis))
            if row.low is not None and row.high is not None
            else None,
            mark=_place(row.diff, axis) if row.diff is not None else None,
        )

    tasks = list(dict.fromkeys(row.task for row in rows))
    places = {model: i for i, model in enumerate(models)}
    rows.sort(key=lambda row: (tasks.index(row.task), row.metric, places.get(row.model, len(models)), row.seed))
    return [drawn(row) for row in rows]


def after_holm(rows: list[Comparison]) -> int:
    """How many differences are left when all are judged together (Holm 1979): then a false one anywhere is rare."""
    left = 0
    for i, p in enumerate(sorted(row.p for row in rows)):
        if p >= ALPHA / (len(rows) - i):
            break
        left += 1
    return left


def _mean(values: Iterable[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return statistics.fmean(there) if there else None


def _place(value: float, axis: tuple[float, float]) -> float:
    low, high = axis
    return round(100 * (value - low) / (high - low), 2) if high > low else 50.0
