"""The leaderboard: every model on every task with its interval, and the paired comparisons behind it."""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from yosegi.report.format import known, number, probability, signed
from yosegi.report.read import Found, Measurement

LOW_IS_GOOD = ("loss", "perplexity", "ppl", "error", "nll", "bits_per_byte", "parse_failures")
ALPHA = 0.05
"""A paired difference with a p-value below this is called a difference; anything else is noise."""


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
    tasks: list[str]
    heads: list[str]
    """Under each task: its metric where they differ, and how many examples."""
    lines: list[Line] = field(default_factory=list)
    low_is_good: bool = False
    axis: tuple[float, float] = (0.0, 1.0)
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


def _panel(found: Found, name: str, metric: dict[str, str]) -> Panel:
    tasks = [task for task in found.tasks if task in metric]
    by_cell: dict[tuple[str, str], list[Measurement]] = {}
    for m in found.plain:
        if metric.get(m.task) == m.metric:
            by_cell.setdefault((m.model, m.task), []).append(m)
    low_is_good = all(any(word in metric[task] for word in LOW_IS_GOOD) for task in tasks)
    ends = [v for several in by_cell.values() for m in several for v in (m.value, m.low, m.high) if v is not None]
    shares = min(ends) >= 0 and max(ends) <= 1
    axis = (0.0, 1.0) if shares else (min(ends), max(ends))
    base_of = {m.model: found.bases.get(m.run, "") for m in found.plain}
    p_values = {(c.model, c.task, c.metric): c for c in found.comparisons if found.against(c) == found.bases.get(c.run)}

    models = [model for model in found.models if any((model, task) in by_cell for task in tasks)]
    values = {key: statistics.fmean(m.value for m in several if m.value is not None) for key, several in by_cell.items()}
    means = {
        model: statistics.fmean(values[model, task] for task in tasks)
        for model in models
        if all((model, task) in values for task in tasks)
    }
    best = {task: (min if low_is_good else max)(values[m, task] for m in models if (m, task) in values) for task in tasks}
    best_mean = (min if low_is_good else max)(means.values()) if means else None
    changes = {
        (model, task): values[model, task] - values[base_of[model], task]
        for model, task in values
        if (base_of[model], task) in values and base_of[model] != model
    }
    scale = max([abs(change) for change in changes.values()] + [0.1 if shares else 1e-9])

    def tint(change: float | None) -> float:
        return 0.0 if change is None else max(-1.0, min(1.0, change / scale)) * (-1 if low_is_good else 1)

    def cell(model: str, task: str) -> Cell:
        several = by_cell.get((model, task))
        if not several:
            return Cell(None)
        value, base = values[model, task], base_of[model]
        seeds = [m.value for m in several if m.value is not None]
        low, high = _mean(m.low for m in several), _mean(m.high for m in several)
        compared = p_values.get((model, task, metric[task]))
        p = known(compared.row.get("p_value")) if compared and len(several) == 1 else None
        change = changes.get((model, task))
        spread = statistics.stdev(seeds) if len(seeds) > 1 else None
        says = [f"{model} on {task}", f"{metric[task]} {number(value)}"]
        if spread is not None:
            says.append(f"mean of {len(seeds)} seeds, standard deviation {number(spread)}")
            says.append("; ".join(f"seed {m.seed}: {number(m.value)}" for m in several))
        if low is not None and high is not None:
            says.append(f"95 % interval {number(low)} to {number(high)}" + (" (mean over seeds)" if spread else ""))
        if several[0].n is not None:
            says.append(f"{several[0].n} examples")
        if change is not None:
            says.append(f"{signed(change)} against {base} ({number(values[base, task])})")
        if p is not None:
            says.append(f"paired p {probability(p)}" + (": inside the noise" if p >= ALPHA else ""))
        return Cell(
            value=value,
            title="\n".join(says),
            change=change,
            tint=tint(change),
            best=value == best[task],
            noise=p is not None and p >= ALPHA,
            spread=spread,
            seeds=len(seeds),
            bar=(_place(low, axis), _place(high, axis)) if low is not None and high is not None else None,
            mark=_place(value, axis),
            base_mark=_place(values[base, task], axis) if change is not None else None,
            dots=tuple(_place(v, axis) for v in seeds) if len(seeds) > 1 else (),
        )

    def mean(model: str) -> Cell:
        if model not in means:
            return Cell(None, title="Not measured on every task: no mean.")
        base = base_of[model]
        change = means[model] - means[base] if base in means and base != model else None
        says = f"{model}\nmean of {len(tasks)} tasks {number(means[model])}"
        says += f"\n{signed(change)} against {base} ({number(means[base])})" if change is not None else ""
        return Cell(means[model], says, change, tint(change), means[model] == best_mean)

    counts = {task: {m.n for model in models for m in by_cell.get((model, task), []) if m.n is not None} for task in tasks}
    heads = []
    for task in tasks:
        n = f"n = {' / '.join(map(str, sorted(counts[task])[:2]))}" if counts[task] else ""
        heads.append(", ".join(filter(None, [metric[task] if len(set(metric.values())) > 1 else "", n])))
    sign = 1 if low_is_good else -1
    lines = [Line(m, m in found.bases.values(), [cell(m, task) for task in tasks], mean(m)) for m in models]
    lines.sort(key=lambda line: (not line.is_base, line.mean.value is None, sign * (line.mean.value or 0)))
    return Panel(
        name=name,
        tasks=tasks,
        heads=heads,
        lines=lines,
        low_is_good=low_is_good,
        axis=axis,
        several_seeds=any(cell.seeds > 1 for line in lines for cell in line.cells),
        has_base=bool(changes),
        has_noise=any(cell.noise for line in lines for cell in line.cells),
    )


def comparisons(found: Found) -> list[Comparison]:
    """Every paired comparison, with the differences drawn on one axis for each metric."""
    seeds = {str(m.seed) for m in found.comparisons}
    reach: dict[str, float] = {}
    rows: list[Comparison] = []
    for m in found.comparisons:
        diff, low, high, p = (known(m.row.get(key)) for key in ("diff", "diff_low", "diff_high", "p_value"))
        assert p is not None  # found.comparisons has no other rows
        gained, lost = m.row.get("gained"), m.row.get("lost")
        up = diff if diff is not None else (gained or 0) - (lost or 0)
        good = up > 0 if not any(word in m.metric for word in LOW_IS_GOOD) else up < 0
        verdict = "noise" if p >= ALPHA or up == 0 else "better" if good else "worse"
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
            bar=(_place(row.low, axis), _place(row.high, axis)) if row.low is not None and row.high is not None else None,
            mark=_place(row.diff, axis) if row.diff is not None else None,
        )

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
