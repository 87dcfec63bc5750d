"""The numbers of a study: what every arm got for the same questions, seed by seed, read from the rows and items of a run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from yosegi import files
from yosegi.evaluation.statistics import over_seeds
from yosegi.findings import Estimate
from yosegi.run import Run
from yosegi.tasks import Task

LOGP = "log p"
SEVERAL = 4
"""With this many tasks an interval can speak of other tasks; with fewer, of other questions of these tasks."""

Scores = Mapping[str, Mapping[int, Sequence[float]]]
"""Arm -> seed -> a number for each question, in the same order everywhere."""


@dataclass(frozen=True)
class Measure:
    """One column of a study's tables: a group of questions and what is counted on them."""

    group: str  # as in "new tasks"
    metric: str  # as in "accuracy"
    scores: Scores  # of every arm and seed that answered all questions
    tasks: Sequence[str]  # the task of each question
    over_tasks: bool = (
        False  # whether intervals speak of other tasks, not only of other questions of these; both of other seeds
    )

    @property
    def label(self) -> str:
        """Returns the head of the column."""
        return self.group if self.group == self.metric else f"{self.group}, {self.metric}"

    @property
    def clusters(self) -> Sequence[str] | None:
        """Returns what `over_seeds` takes as `tasks`."""
        return self.tasks if self.over_tasks else None

    def mean(self, arm: str) -> float | None:
        """Returns the mean over all seeds and questions."""
        return None if arm not in self.scores else round(fmean(fmean(v) for v in self.scores[arm].values()), 4)

    def estimate(self, arm: str) -> Estimate | None:
        """Returns the mean with its 95 % interval; that of a log p ends at 0."""
        if arm not in self.scores:
            return None
        value, low, high = over_seeds(list(self.scores[arm].values()), tasks=self.clusters)
        high = min(high, 0.0) if self.metric == LOGP else high
        return rounded(value, low, high)

    def pairs(self, arm: str, against: str) -> tuple[list[Sequence[float]], list[Sequence[float]]]:
        """Returns the scores [seeds][questions] of two arms, for the seeds that both have."""
        after, before = self.scores.get(arm, {}), self.scores.get(against, {})
        both = sorted(after.keys() & before.keys())
        return [after[seed] for seed in both], [before[seed] for seed in both]

    def change(self, arm: str, against: str = "base") -> Estimate | None:
        """Returns the mean paired difference with its 95 % interval."""
        after, before = self.pairs(arm, against)
        return rounded(*over_seeds(after, before, self.clusters)) if after else None

    def with_mean(self, name: str, arms: Sequence[str]) -> "Measure":
        """Returns the same with one more arm: the mean of several, question by question, for the seeds that all of them have."""
        there = [self.scores[arm] for arm in arms if arm in self.scores]
        seeds = [seed for seed in (there[0] if there else ()) if all(seed in one for one in there)]
        means = {seed: [fmean(values) for values in zip(*(one[seed] for one in there), strict=True)] for seed in seeds}
        return replace(self, scores={**self.scores, **({name: means} if means else {})})

    def of(self, task: str) -> "Measure":
        """Returns the same for the questions of one task."""
        at = [n for n, one in enumerate(self.tasks) if one == task]
        scores = {arm: {s: [v[n] for n in at] for s, v in seeds.items()} for arm, seeds in self.scores.items()}
        return replace(self, group=task, scores=scores, tasks=[task] * len(at), over_tasks=False)


def rounded(value: float, low: float, high: float) -> Estimate:
    """Returns a mean and its interval, as tables have them."""
    return Estimate(round(value, 4) + 0.0, round(low, 4) + 0.0, round(high, 4) + 0.0)  # -0 is 0


def measures(
    run: Run,
    groups: Mapping[str, Sequence[str | Task]],
    *,
    keys: Mapping[str, Sequence[str]] | None = None,
    logp: bool | Sequence[str] = True,
    over_tasks: bool | None = None,
) -> list[Measure]:
    """Returns two measures of each group of tasks: its own metric, and the log p per token of the gold answer.

    Args:
        run: whose results and items are read.
        groups: the tasks of each group; an empty group is left out.
        keys: for a group, the fields of an item of which the first that is there counts; ("score",) by default.
        logp: whether to add the log p; of the groups named here it is the only measure, and of the others it is none.
        over_tasks: as in `Measure`; by default where there are several tasks.
    """
    items: dict[tuple[str, int, str], list[dict[str, Any]]] = {}
    metrics: dict[str, str] = {}
    for row in run.results():
        key = (row["model"], row["seed"], row["task"])
        if "against" not in row and "items" in row and key not in items:
            items[key] = files.read_jsonl(run.path / row["items"])
            metrics.setdefault(row["task"], row["metric"])
    made: list[Measure] = []
    for group, several in groups.items():
        tasks = [task if isinstance(task, str) else task.name for task in several]
        if not tasks:
            continue
        speaks_of_tasks = len(tasks) >= SEVERAL if over_tasks is None else over_tasks
        metric = " / ".join(sorted({metrics[task] for task in tasks if task in metrics}))
        scored, gold = (metric, (keys or {}).get(group, ("score",))), (LOGP, ("logp",))
        both = [scored, gold] if logp else [scored]
        wanted = both if isinstance(logp, bool) else [gold if group in logp else scored]
        labels: list[str] = []
        columns: list[dict[str, dict[int, list[float]]]] = [{} for _ in wanted]
        for arm, seed in dict.fromkeys(key[:2] for key in items):
            answers = [(task, item) for task in tasks for item in items.get((arm, seed, task), ())]
            if any((arm, seed, task) not in items for task in tasks):
                continue
            labels = labels or [task for task, _ in answers]
            for column, (_, fields) in zip(columns, wanted, strict=True):
                column.setdefault(arm, {})[seed] = [next(item[f] for f in fields if f in item) for _, item in answers]
        for column, (what, _) in zip(columns, wanted, strict=True):
            made.append(Measure(group, what, column, labels, speaks_of_tasks))
    return made


def gained_and_lost(after: Sequence[float], before: Sequence[float]) -> tuple[int, int]:
    """Returns how many questions went up and how many went down."""
    pairs = list(zip(after, before, strict=True))
    return sum(a > b for a, b in pairs), sum(a < b for a, b in pairs)
