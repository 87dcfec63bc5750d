"""What several recipes do with their items: numbers with intervals, and claims that are held against them.

An interval speaks of other seeds and other tasks (evaluation/statistics.py).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from yosegi import files
from yosegi.evaluation.statistics import over_seeds
from yosegi.run import Run

Scores = dict[str, dict[int, list[float]]]
"""Arm -> seed -> a number for each question, always in the same order."""


def scores(run: Run, tasks: Sequence[str], *what: str) -> Scores:
    """All questions of some tasks, for every arm and seed that answered all of them: of each item the first of `what` it has."""
    found: dict[tuple[str, int], dict[str, list[float]]] = {}
    for row in run.results():
        if row["task"] in tasks and "against" not in row and row["metric"] != "logp":
            items = files.read_jsonl(run.path / row["items"])
            found.setdefault((row["model"], row["seed"]), {})[row["task"]] = [
                next(item[key] for key in what if key in item) for item in items
            ]
    whole: Scores = {}
    for (arm, seed), by_task in found.items():
        if len(by_task) == len(tasks):
            whole.setdefault(arm, {})[seed] = [value for task in tasks for value in by_task[task]]
    return whole


def labels(run: Run, tasks: Sequence[str]) -> list[str]:
    """The task of each question, in the order of `scores`."""
    items = {row["task"]: row["items"] for row in run.results() if "against" not in row and row["metric"] != "logp"}
    return [task for task in tasks if task in items for _ in files.read_jsonl(run.path / items[task])]


def cell(values: Mapping[int, Sequence[float]] | None, whose: Sequence[str] | None = None) -> dict[str, float] | None:
    """A mean with its interval, as findings.json has it; `whose` says the task of each question."""
    if not values:
        return None
    mean, low, high = over_seeds([values[seed] for seed in sorted(values)], tasks=whose)
    return {"value": round(mean, 4), "low": round(low, 4), "high": round(high, 4)}


def dots(
    title: str, values: Mapping[str, Mapping[int, Sequence[float]] | None], whose: Sequence[str], x: str
) -> dict[str, Any]:
    """A row an arm; coloured by library where there are several."""
    several = any(" · " in arm for arm in values)
    rows = [
        {"label": arm, "group": arm.split(" · ")[0] if several else "", **shown}
        for arm, v in values.items()
        if (shown := cell(v, whose)) is not None
    ]
    base = next((row["value"] for row in rows if row["label"] == "base"), None)
    figure = {"kind": "dots", "title": title, "caption": f"{title}; 95 % intervals over seeds and tasks.", "x": x}
    return figure | {"rows": rows} | ({} if base is None else {"reference": {"value": base, "label": "base"}})


def judge(
    claim: Sequence[str], score: Mapping[str, Scores], logp: Mapping[str, Scores], whose: Mapping[str, Sequence[str]]
) -> list[Any] | None:
    """One row of the table of claims; None where an arm was not run."""
    said, arm, against, where, paper = claim
    row: list[Any] = [said, where, paper]
    for part in (score.get(where, {}), logp.get(where, {})):
        if arm not in part or against not in part:
            return None
        both = sorted(part[arm].keys() & part[against].keys())
        after, before = ([part[a][seed] for seed in both] for a in (arm, against))
        diff, low, high = over_seeds(after, before, whose[where])
        row += [{"value": round(diff, 4), "low": round(low, 4), "high": round(high, 4)}, verdict(paper, low, high)]
    return row


def verdict(paper: str, low: float, high: float) -> str:
    """Whether an interval says what the paper says."""
    if low <= 0 <= high:
        return "no difference found" if paper == "≈ 0" else "inside the noise"
    if paper == "≈ 0":
        return "better" if low > 0 else "worse"
    return "holds" if low > 0 else "the reverse"


def paragraph(judged: Sequence[Sequence[Any]], seeds: int) -> list[str]:
    """The table of claims in words."""
    lines = []
    for place, what in ((4, "By the tasks' own score"), (6, "By the log p of the gold answer")):
        parts = []
        for word in ("holds", "no difference found", "inside the noise", "better", "worse", "the reverse"):
            if said := [f"{row[0]} ({row[1]})" for row in judged if row[place] == word]:
                parts.append(f"{word}: {'; '.join(said)}")
        lines.append(f"{what} - " + ". ".join(parts) + ".")
    lines.append(
        f"{2 * len(judged)} comparisons were made with {seeds} seed{'s' if seeds > 1 else ''}: at 95 %, one in twenty of "
        "those where nothing is the matter looks like something."
    )
    return lines
