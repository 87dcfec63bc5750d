"""The questions of a search: validation examples of some tasks, asked in rounds so that a bad trial can be broken off.

One value a task is a mean over its examples, of the task's own score (greedy generation) or of the log p of the gold answer
(one forward pass, so it costs far less, and it tells more where nearly all answers are wrong or right).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from yosegi import registry, tasks
from yosegi.bases import Base
from yosegi.core.model import Banks
from yosegi.engine.arm import Arm
from yosegi.engine.generate import generate
from yosegi.engine.score import score_answers, score_candidates
from yosegi.errors import Invalid, NotFinite, UnknownName
from yosegi.tasks import Task

SPLIT = "validation"


@dataclass(frozen=True)
class Goal:
    """What one task counts.

    Args:
        task: whose examples are asked.
        metric: the task's own, or "logp".
        weight: beside the other goals.
    """

    task: Task
    metric: str
    weight: float = 1.0

    @property
    def label(self) -> str:
        """skills/add:accuracy"""
        return f"{self.task.name}:{self.metric}"


def read_goal(text: str) -> Goal:
    """`gsm8k`, `gsm8k:logp`, `gsm8k=2` or `mgsm_ja:accuracy=0.5`. Without a metric it is the task's own, without a weight 1.

    Raises:
        Invalid: the weight is not a number above 0.
        UnknownName: there is no such task, or it has no such metric.
    """
    name, weight = text, 1.0
    before, equals, number = text.rpartition("=")
    if equals:
        try:
            name, weight = before, float(number)
        except ValueError:
            raise Invalid(f"--task {text}: the weight is a number, as in {before}=0.5.") from None
        if not 0 < weight < float("inf"):
            raise Invalid(f"--task {text}: a weight is above 0.")
    before, colon, metric = name.rpartition(":")
    # package:Class is a task too
    outside = not set("/:") & set(before) and metric != "logp" and before not in registry.names("tasks")
    if not colon or outside:
        task = tasks.load(name)
        return Goal(task, task.metric, weight)
    task = tasks.load(before)
    if metric not in (task.metric, "logp"):
        raise UnknownName.among(f"metric of {before}", metric, (task.metric, "logp"))
    return Goal(task, metric, weight)


class Exam:
    """Asks the same questions again and again.

    Args:
        base: whatever stands beside it answers.
        goals: what counts; no task twice by one metric.
        arm: knows what a router has to be told; only for routers.
        limit: at most so many examples a task.
        rounds: in how many parts they are asked.
        batch_size: sequences at a time.
        split: of the tasks. Anything but validation is refused: what is chosen on test questions says nothing about them.
    """

    def __init__(
        self,
        base: Base,
        goals: Sequence[Goal],
        arm: Arm | None = None,
        limit: int | None = None,
        rounds: int = 4,
        batch_size: int = 64,
        split: str = SPLIT,
    ):
        if split != SPLIT:
            raise Invalid(f"A search looks at the {SPLIT} split and at no other; {split!r} was given.")
        if not goals:
            raise Invalid("A search needs at least one task.")
        if twice := [goal.label for n, goal in enumerate(goals) if goal.label in [g.label for g in goals[:n]]]:
            raise Invalid(f"{twice[0]} is asked twice.")
        self.base, self.goals, self.arm, self.batch_size = base, list(goals), arm, batch_size
        self.examples = [goal.task.examples(split)[:limit] for goal in goals]
        for goal, examples in zip(goals, self.examples, strict=True):
            if not examples:
                raise Invalid(f"The task {goal.task.name!r} has no {split} examples.")
        self.rounds = max(1, min(rounds, *map(len, self.examples)))
        self._known: dict[int, dict[str, Any]] = {}

    @property
    def labels(self) -> list[str]:
        """The goals, in order."""
        return [goal.label for goal in self.goals]

    def sit(self, banks: Banks | None) -> Iterator[list[list[float]]]:
        """After each round, the scores so far: [goals][examples]. Every round asks a part of every task."""
        scores: list[list[float]] = [[] for _ in self.goals]
        for turn in range(self.rounds):
            for n in range(len(self.goals)):
                scores[n] += self._ask(n, turn, banks)
            yield scores

    def mean(self, scores: Sequence[Sequence[float]]) -> float:
        """One number of all goals: their means, by weight."""
        total = sum(goal.weight for goal in self.goals)
        return sum(g.weight * sum(s) / len(s) for g, s in zip(self.goals, scores, strict=True)) / total

    def _ask(self, n: int, turn: int, banks: Banks | None) -> list[float]:
        goal, N = self.goals[n], len(self.examples[n])
        part = slice(turn * N // self.rounds, (turn + 1) * N // self.rounds)
        examples = self.examples[n][part]
        prompts = [example.prompt for example in examples]
        known = {what: values[part] for what, values in self._told(n, banks).items()}
        task, how = goal.task, {"banks": banks, "known": known, "batch_size": self.batch_size}
        try:
            if goal.metric == "logp":
                return score_answers(self.base, examples, **how)
            if not task.generates:
                scores = score_candidates(self.base, task, examples, **how).scores
                return [score.value for score in scores if score is not None]
        except NotFinite:
            if banks is None:
                raise
            return [math.nan] * len(examples)  # such weights broke the model
        answers = generate(
            self.base, prompts, max_new_tokens=task.max_new_tokens, stop=task.stop, banks=banks, known=known
        )
        return [task.score(example, answer.text).value for example, answer in zip(examples, answers, strict=True)]

    def _told(self, n: int, banks: Banks | None) -> dict[str, Any]:
        """What the router may know of each example; worked out once, since no trial changes it."""
        if n not in self._known:
            prompts = [example.prompt for example in self.examples[n]]
            self._known[n] = self.arm.known(self.base, banks, self.goals[n].task.name, prompts) if self.arm else {}
        return self._known[n]
