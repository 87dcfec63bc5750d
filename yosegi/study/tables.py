"""Tables and figures that studies have in common: all arms together, task by task, against the base, over a training."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations
from statistics import fmean
from typing import Any

import numpy as np

from yosegi import files
from yosegi.engine.kept import arms, read_arm
from yosegi.evaluation.correlation import correlate
from yosegi.findings import (
    Bars,
    Cell,
    Dot,
    Dots,
    Figure,
    Finding,
    Lines,
    Matrix,
    Point,
    Reference,
    Scatter,
    Series,
    Table,
)
from yosegi.library.store import Library
from yosegi.masks.importance import share_of
from yosegi.run import Run
from yosegi.study.measures import Measure, gained_and_lost, rounded
from yosegi.training.entries import Entries

POINTS = 20
"""Of a curve."""


def arms_finding(
    heading: str,
    measures: Sequence[Measure],
    text: Sequence[str] = (),
    *,
    arms: Sequence[str] | None = None,
    figure: int | Figure = 0,
    more: Mapping[str, Mapping[str, Cell]] | None = None,
) -> Finding:
    """Returns every arm by every measure.

    Args:
        heading: of the finding.
        measures: a column each.
        text: stands above the table, with what the intervals speak of.
        arms: which, and in which order; by default all of the first measure.
        figure: the place of the measure that is drawn, or another figure.
        more: further columns, a cell for each arm.
    """
    arms = list(measures[0].scores) if arms is None else arms
    extra, drawn = more or {}, dots(measures[figure], arms) if isinstance(figure, int) else figure
    columns = ["", *(measure.label for measure in measures), *extra]
    rows: list[list[Cell]] = [
        [arm, *(measure.estimate(arm) for measure in measures), *(column.get(arm) for column in extra.values())]
        for arm in arms
    ]
    return Finding(heading, [*text, intervals(measures)], Table(columns, rows), drawn)


def by_number(title: str, measure: Measure, series: Mapping[str, Mapping[Any, str]], x: str) -> Lines:
    """Returns a measure over a number that arms differ in (name of a line -> number -> arm): mean and range of the seeds."""
    drawn = []
    for name, by_x in series.items():
        seeds = {number: [fmean(v) for v in measure.scores.get(arm, {}).values()] for number, arm in by_x.items()}
        points = [(n, *(round(f(v), 4) for f in (fmean, min, max))) for n, v in sorted(seeds.items()) if v]
        drawn.append(Series(name, points))
    return lines(title, drawn, x, measure.label)


def intervals(measures: Sequence[Measure]) -> str:
    """Returns what the intervals of these measures speak of, in words."""
    over = {measure.over_tasks for measure in measures}
    what = "questions of these tasks" if over == {False} else "tasks" + ", where there are several" * (over != {True})
    seeds = max((len(seeds) for measure in measures for seeds in measure.scores.values()), default=0)
    return f"{seeds} seed{'s' * (seeds != 1)}. Intervals: 95 %, over seeds and {what}."


def dots(measure: Measure, arms: Sequence[str], title: str = "") -> Dots:
    """Returns an arm per row, those of one library ("library · router") in one colour, and the base as a line across."""
    several = any(" · " in arm for arm in arms)
    shown = [(arm, estimate) for arm in arms if (estimate := measure.estimate(arm)) is not None]
    rows = [Dot(arm, e.value, e.low, e.high, arm.split(" · ")[0] if several else "") for arm, e in shown]
    base = None if (mean := measure.mean("base")) is None else Reference(mean, "base")
    return Dots(title or measure.label, intervals([measure]), rows, measure.metric, base)


def task_by_task(measure: Measure, text: Sequence[str] = ()) -> Finding:
    """Returns every arm on every task, mean over seeds: a mean over tasks can hide that one of them decides."""
    parts = {short(task): measure.of(task) for task in dict.fromkeys(measure.tasks)}
    values = [[part.mean(arm) for part in parts.values()] for arm in measure.scores]
    figure = Matrix(f"{measure.label}, task by task", "Mean over seeds.", list(measure.scores), list(parts), values)
    return Finding("Task by task", list(text), figure=figure)


def grid(heading: str, measure: Measure, arm: str, rows: Sequence[float], columns: Sequence[float]) -> Finding:
    """Returns arms that differ in two numbers, mean over seeds; `arm` is their name, as in "α {:g} β {:g}"."""
    values = [[measure.mean(arm.format(a, b)) for b in columns] for a in rows]
    caption = f"Mean over seeds: {arm.replace('{:g}', '…')}."
    down, across = ([f"{number:g}" for number in side] for side in (rows, columns))
    return Finding(heading, figure=Matrix(measure.label, caption, down, across, values))


def two_arms(heading: str, measure: Measure, pairs: Mapping[str, tuple[str, str]], text: Sequence[str]) -> Finding:
    """Returns two arms against each other, a point for each task; `pairs` has the arms on x and on y by group of points."""
    points, rows = [], list[list[Cell]]()
    for task in dict.fromkeys(measure.tasks):
        part = measure.of(task)
        for group, (one, other) in pairs.items():
            if one in part.scores and other in part.scores:
                points.append(Point(part.mean(one), part.mean(other), short(task), group))
                rows.append([short(task), group, part.estimate(one), part.estimate(other), part.change(other, one)])
    groups = "|".join(f"{group} · " for group in pairs)  # a point's colour says its group
    x, y = (" / ".join(dict.fromkeys(re.sub(groups, "", pair[n]) for pair in pairs.values())) for n in (0, 1))
    figure = Scatter(heading, f"{measure.label}: a point for each task.", points, x, y, diagonal=True)
    return Finding(heading, list(text), Table(["task", "", x, y, "difference"], rows), figure)


def correlations(
    heading: str,
    names: Sequence[str],
    x: Mapping[str, np.ndarray],
    y_TT: np.ndarray,
    axes: tuple[str, str],
    text: Sequence[str],
    draws: int = 2000,
) -> Finding:
    """Returns whether what holds between two tasks goes with what they gain from each other; the last matrix of `x` is drawn.

    Args:
        heading: of the finding.
        names: of the T tasks.
        x: symmetric matrices [T, T], by what they are.
        y_TT: symmetric.
        axes: what x and y are called.
        text: stands above the table.
        draws: of the bootstrap over tasks and of the permutations.
    """
    from scipy.stats import pearsonr, spearmanr

    rows: list[list[Cell]] = []
    for what, x_TT in x.items():
        for name, by in (("Pearson", pearsonr), ("Spearman", spearmanr)):
            value, low, high, p = correlate(x_TT, y_TT, by, draws)
            rows.append([what, name, rounded(value, low, high), round(p, 4)])
    drawn = list(x.values())[-1]
    points = [
        Point(float(drawn[i, j]), float(y_TT[i, j]), f"{short(names[i])} + {short(names[j])}")
        for i, j in combinations(range(len(names)), 2)
    ]
    note = "Pairs share tasks: intervals draw tasks again, and p is by permuting tasks (Mantel)."
    figure = Scatter(heading, "A point for each pair of tasks.", points, *axes, line=True)
    return Finding(heading, list(text), Table([axes[0], "correlation", "value", "p"], rows, note), figure)


def above_one(heading: str, ratios: Mapping[str, Sequence[Sequence[float]]], text: Sequence[str]) -> Finding:
    """Returns how many of some ratios are above 1, by seed; the last kind is drawn, as log₂."""
    rows: list[list[Cell]] = []
    for what, seeds in ratios.items():
        shares = [float(np.mean(np.array(seed) > 1)) for seed in seeds]
        shown = ", ".join(f"{share:.3f}" for share in shares)
        rows.append([what, round(fmean(shares), 4), shown, round(fmean(float(np.median(seed)) for seed in seeds), 4)])
    log_N = np.log2(np.concatenate([np.array(seed) for seed in list(ratios.values())[-1]]))
    low, high = np.quantile(log_N, [0.001, 0.999])
    counts, edges = np.histogram(log_N.clip(low, high), bins=24, range=(min(low, -0.1), max(high, 0.1)))
    labels = [f"{(a + b) / 2:.2f}".replace("-", "−") for a, b in zip(edges, edges[1:], strict=False)]
    shares = [float(count) / len(log_N) for count in counts]
    figure = Bars(heading, "Above 0 the own one is larger.", labels, shares, "log₂ of own over other", "share")
    return Finding(heading, list(text), Table(["", "share above 1", "by seed", "median ratio"], rows), figure)


def changes(
    measures: Sequence[Measure], text: Sequence[str] = (), heading: str = "Gained and lost", against: str = "base"
) -> Finding:
    """Returns every arm against the base on the same questions: the change, and how many questions went up and down."""
    arms = [arm for arm in dict.fromkeys(a for m in measures for a in m.scores) if arm != against]
    columns = [name for m in measures for name in (f"{m.label}: change", "up, down")]
    rows: list[list[Cell]] = []
    for arm in arms:
        row: list[Cell] = [arm]
        for measure in measures:
            moved = [gained_and_lost(*pair) for pair in zip(*measure.pairs(arm, against), strict=True)]
            counts = [round(fmean(several), 1) for several in zip(*moved, strict=True)]
            row += [measure.change(arm, against), "+{:g} −{:g}".format(*counts) if counts else None]
        rows.append(row)
    note = f"Up and down: questions, mean over seeds. {intervals(measures)}"
    return Finding(heading, list(text), Table(["", *columns], rows, note))


def training_curves(
    run: Run,
    experts: Mapping[str, Sequence[str]],
    y: Callable[[Mapping[str, Any]], float | None],
    x: Callable[[str, Mapping[str, Any]], float] = lambda arm, row: row["step"],
) -> list[Series]:
    """Returns a line for each arm from `metrics.jsonl`, the mean of its seeds from the lowest to the highest.

    Args:
        run: whose metrics.
        experts: arm -> the names of its experts there, one for each seed.
        y: of a row; None leaves it out.
        x: of an arm and a row; the step by default.
    """
    rows, series = metrics(run), []
    for arm, names in experts.items():
        by_name = {
            name: [(x(arm, row), v) for row in rows if row.get("expert") == name and (v := y(row)) is not None]
            for name in names
        }
        seeds = [points for points in by_name.values() if points]
        length = min(map(len, seeds), default=0)
        width = max(1, length // POINTS)
        points = []
        for end in range(width, length + 1, width):
            means = [fmean(v for _, v in seed[end - width : end]) for seed in seeds]
            points.append((seeds[0][end - 1][0], *(round(v, 4) for v in (fmean(means), min(means), max(means)))))
        series.append(Series(arm, points))
    return series


def metrics(run: Run) -> list[dict[str, Any]]:
    """Returns the rows of `metrics.jsonl`; none where nothing was trained."""
    return files.read_jsonl(run.path / "metrics.jsonl") if (run.path / "metrics.jsonl").exists() else []


def lines(
    title: str, series: Sequence[Series], x: str, y: str, caption: str = "Mean of the seeds, and their range."
) -> Lines:
    """Returns a figure of the lines that have points."""
    return Lines(title, caption, [one for one in series if one.points], x, y)


def regions_finding(entries: Mapping[int, Entries], text: Sequence[str] = ()) -> Finding:
    """Returns, by seed, whether two systems differ more in the entries that matter to them than two halves of one system do."""
    rows, shares = list[list[Cell]](), list[dict[str, tuple[float, ...]]]()
    for seed, one in entries.items():
        regions = one.regions()
        parts = (regions.first, regions.second, regions.shared)
        shares.append({name: tuple(float(part[name].float().mean()) for part in parts) for name in regions.first})
        moving = (round(share_of(stage), 4) for stage in regions.stages)
        rows.append([str(seed), round(regions.jaccard, 4), round(one.null_jaccard(), 4), *moving])
    names = list(shares[0])
    values = [[round(fmean(seed[name][n] for seed in shares), 4) for n in range(3)] for name in names]
    columns = ["seed", "Jaccard of the two systems", "of two halves of System 2", "moves in stage 1", "in stage 2"]
    kinds = ["System 1 only", "System 2 only", "shared"]
    figure = Matrix("Share of each tensor's entries", "Mean over seeds.", names, kinds, values)
    return Finding("Whose entries are whose", list(text), Table(columns, rows), figure)


def movement(libraries: Iterable[Library], heading: str = "How far the learnt weights moved") -> Finding:
    """Returns how far arms that learn weights beside finished experts moved: a weight that stays has learnt nothing."""
    by_name: dict[str, list[float]] = {}
    for library in libraries:
        for name in arms(library):
            if (moved := read_arm(library, name)["training"].get("moved")) is not None:
                by_name.setdefault(re.sub(r"^\S+ | s\d+$", "", name), []).append(moved)
    rows: list[list[Cell]] = [
        [name, len(moves), *(round(number, 4) for number in (fmean(moves), min(moves), max(moves)))]
        for name, moves in by_name.items()
    ]
    text = "Root mean square of a - a₀ over all weights, by arm and learning rate; for the softmax, a is the logit."
    return Finding(heading, [text], Table(["arm, learning rate", "trained", "mean", "least", "most"], rows))


def short(task: str) -> str:
    """Returns the last part of a task's name."""
    return task.rpartition("/")[2]
