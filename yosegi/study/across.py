"""Arms across many tasks, whose metrics have no mean: ranks, questions won and lost, and how small a difference could be seen."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from yosegi.evaluation.exact import FEW_CHANGED, POWER, holm, mcnemar, mean_ranks
from yosegi.evaluation.statistics import over_tasks
from yosegi.findings import Cell, Estimate, Finding, Table
from yosegi.study.measures import rounded
from yosegi.tasks import Task

Row = Mapping[str, Any]
Differences = Mapping[str, Mapping[str, Row]]
"""Arm -> task -> the row of its comparison with the first arm, by the task's own metric."""


def ranks(rows: Sequence[Row], asked: Sequence[Task]) -> dict[str, float]:
    """Returns each arm's mean rank over the tasks that it answered all, by their own metrics; 1 is best, ties share."""
    metrics = {task.name: task.metric for task in asked}
    values: dict[str, dict[str, float]] = {}
    for row in rows:
        if metrics.get(row["task"]) == row["metric"]:
            values.setdefault(row["model"], {})[row["task"]] = row["value"]
    return mean_ranks({arm: by_task for arm, by_task in values.items() if len(by_task) == len(metrics)})


def across(rows: Sequence[Row], asked: Sequence[Task], text: Sequence[str] = ()) -> list[Finding]:
    """Returns every arm against the first over all tasks, and what each task could have shown.

    Args:
        rows: those of one evaluation.
        asked: the tasks.
        text: stands above the first table.
    """
    metrics = {task.name: task.metric for task in asked}
    against: dict[str, dict[str, Row]] = {}
    for row in rows:
        if row.get("against") and row["metric"] == f"{metrics.get(row['task'])}_diff":
            against.setdefault(row["model"], {})[row["task"]] = row
    return [_arms(rows, asked, against, text), _tasks(rows, metrics, against)]


def _arms(rows: Sequence[Row], asked: Sequence[Task], against: Differences, text: Sequence[str]) -> Finding:
    by_rank, table = ranks(rows, asked), list[list[Cell]]()
    gained, lost = (
        {arm: sum(r[key] for r in of.values()) for arm, of in against.items()} for key in ("gained", "lost")
    )
    p = dict(zip(against, holm([mcnemar(gained[arm], lost[arm]) for arm in against]), strict=True))
    for arm, rank in sorted(by_rank.items(), key=lambda pair: pair[1]):
        row: list[Cell] = [arm, round(rank, 2)]
        if arm in against:
            signs = [
                sum((r["value"] > 0) == up and r["value"] != 0 for r in against[arm].values()) for up in (True, False)
            ]
            row += ["{} / {}".format(*signs), f"+{gained[arm]} −{lost[arm]}", _net(against[arm]), round(p[arm], 4)]
        table.append(row + [None] * (6 - len(row)))
    few = [arm for arm in against if gained[arm] + lost[arm] < FEW_CHANGED]
    words = [
        "One training of each expert: intervals and p speak of other questions, not of other trainings, so there is no verdict."
    ]
    words += (
        [f"McNemar's exact test is conservative below {FEW_CHANGED} changed questions: {', '.join(few)}."]
        if few
        else []
    )
    heads = [
        "",
        "mean rank",
        "tasks above / below the base",
        "questions won, lost",
        "net share of questions",
        "p (Holm)",
    ]
    note = f"{len(asked)} tasks, which count alike in ranks and in the share; 95 % intervals."
    return Finding("All arms over all tasks with choices", [*text, *words], Table(heads, table, note))


def _net(of: Mapping[str, Row]) -> Estimate:
    """Returns the share of questions won less those lost, mean over tasks."""
    signs = [[1.0] * r["gained"] + [-1.0] * r["lost"] + [0.0] * (r["n"] - r["gained"] - r["lost"]) for r in of.values()]
    return rounded(*over_tasks(signs))


def _tasks(rows: Sequence[Row], metrics: Mapping[str, str], against: Differences) -> Finding:
    table, seen = list[list[Cell]](), list[float]()
    for task, metric in metrics.items():
        scores = {row["model"]: row for row in rows if row["task"] == task and row["metric"] == metric}
        base, *others = scores.values()
        best = max(others, key=lambda row: row["value"], default=base)
        least = [d for of in against.values() if (d := of.get(task, {}).get("detectable")) is not None]
        chance: Cell = round(base["chance"], 4) if "chance" in base else None
        cells = [rounded(row["value"], row["ci_low"], row["ci_high"]) for row in (base, best)]
        table.append(
            [task, metric, base["n"], chance, *cells, best["model"], round(median(least), 4) if least else None]
        )
    widths = [_net(of) for of in against.values()]
    seen = [POWER * (one.high - one.low) / 2 for one in widths if one.high is not None and one.low is not None]
    text = ["The best arm of a task is the best of many, by luck too. What could be seen is the difference from the base that so "
            "many questions find in four of five cases, the median over the arms: a smaller one is not excluded."]  # fmt: skip
    text += [f"Over all tasks together a net share of {median(seen):.3f} could be seen."] if seen else []
    heads = ["task", "metric", "questions", "chance", "base", "best other arm", "which", "could be seen"]
    return Finding("Task by task, and what could be seen", text, Table(heads, table))
