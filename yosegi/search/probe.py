"""The questions of a search: validation examples of some tasks, asked in rounds so that a bad trial can be broken off.

The value of a task is the mean over its examples of the task's own score (greedy generation), or of the log p of the gold answer:
one forward pass, so it costs far less, and it tells more where nearly all answers are wrong or right.
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
    """One task and what counts of it.

    Args:
        task: its examples are asked.
        metric: the task's own, or "logp".
        weight: relative to the other goals.
    """

    task: Task
    metric: str
    weight: float = 1.0

    @property
    def label(self) -> str:
        """The goal as it is written: skills/add:accuracy"""
        return f"{self.task.name}:{self.metric}"


def read_goal(text: str) -> Goal:
    """Reads `gsm8k`, `gsm8k:logp`, `gsm8k=2` or `skills{part=add}:accuracy=0.5`: by default the task's own metric, weight 1.

    Raises:
        Invalid: the weight is not a number above 0.
        UnknownName: there is no such task, or it has no such metric.
    """
    cut = text.rfind("}") + 1
    before, equals, number = text[cut:].rpartition("=")
    weight, name = 1.0, text[:cut] + (before if equals else number)
    if equals:
        try:
            weight = float(number)
        except ValueError:
            raise Invalid(f"--task {text}: the weight is a number, as in {name}=0.5.") from None
        if not 0 < weight < math.inf:
            raise Invalid(f"--task {text}: a weight is above 0.")
    before, colon, metric = name[cut:].rpartition(":")
    # package:Class is a task too
    outside = not set("/:") & set(before) and metric != "logp" and not cut and before not in registry.names("tasks")
    if not colon or outside:
        task = tasks.load(name)
        return Goal(task, task.metric, weight)
    task = tasks.load(name[:cut] + before)
    if metric not in (task.metric, "logp"):
        raise UnknownName.among(f"metric of {task.name}", metric, (task.metric, "logp"))
    return Goal(task, metric, weight)


class Probe:
    """Asks the same questions again and again.

    Args:
        base: the base; what is attached to it answers.
        goals: what counts; no task twice by one metric.
        limit: most examples of a task.
        rounds: in how many parts they are asked.
        batch_size: sequences at a time.
        split: of the tasks. Anything but validation is refused: what is chosen on test questions says nothing about them.
    """

    def __init__(
        self,
        base: Base,
        goals: Sequence[Goal],
        limit: int | None = None,
        rounds: int = 4,
        batch_size: int = 64,
        split: str = SPLIT,
    ):
        if split != SPLIT:
            raise Invalid(f"A search looks at the {SPLIT} split and at no other; {split!r} was given.")
        if not goals:
            raise Invalid("A search needs at least one task.")
        self.base, self.goals, self.batch_size = base, list(goals), batch_size
        if twice := [label for n, label in enumerate(self.labels) if label in self.labels[:n]]:
            raise Invalid(f"{twice[0]} is asked twice.")
        self.examples = [goal.task.sample(split, limit) for goal in goals]
        for goal, examples in zip(goals, self.examples, strict=True):
            if not examples:
                raise Invalid(f"The task {goal.task.name!r} has no {split} examples.")
        self.rounds = max(1, min(rounds, *map(len, self.examples)))
        self._known: dict[Any, dict[str, Any]] = {}

    @property
    def labels(self) -> list[str]:
        """The goals, in order."""
        return [goal.label for goal in self.goals]

    def run(self, banks: Banks | None, arm: Arm | None = None) -> Iterator[list[list[float]]]:
        """Yields the scores so far, [goals][examples], after each round. Every round asks a part of every task.

        Args:
            banks: what is attached to the base.
            arm: the arm that it is, where its router has to be told something.
        """
        scores: list[list[float]] = [[] for _ in self.goals]
        for turn in range(self.rounds):
            for n in range(len(self.goals)):
                scores[n] += self._ask(n, turn, banks, arm)
            yield scores

    def mean(self, scores: Sequence[Sequence[float]]) -> float:
        """Returns one number for all goals: their means, by weight."""
        total = sum(goal.weight for goal in self.goals)
        return sum(g.weight * sum(s) / len(s) for g, s in zip(self.goals, scores, strict=True)) / total

    def _ask(self, n: int, turn: int, banks: Banks | None, arm: Arm | None) -> list[float]:
        goal, N = self.goals[n], len(self.examples[n])
        task, part = goal.task, slice(turn * N // self.rounds, (turn + 1) * N // self.rounds)
        examples = self.examples[n][part]
        known = {key: values[part] for key, values in self._router_knows(n, banks, arm).items()}
        options: dict[str, Any] = {"banks": banks, "known": known}
        try:
            if goal.metric == "logp":
                return score_answers(self.base, examples, batch_size=self.batch_size, **options)
            if not task.generates:
                scored = score_candidates(self.base, task, examples, batch_size=self.batch_size, **options)
                return [score.value for score in scored.scores if score is not None]
        except NotFinite:
            if banks is None:
                raise
            return [math.nan] * len(examples)  # such weights broke the model
        answers = generate(self.base, examples, max_new_tokens=task.max_new_tokens, stop=task.stop, **options)
        return [score.value for score in task.scores(examples, [answer.text for answer in answers])]

    def _router_knows(self, n: int, banks: Banks | None, arm: Arm | None) -> dict[str, Any]:
        """What the router may know of each example, worked out once for all trials."""
        if arm is None or arm.needs is None:
            return {}
        key = n, arm.needs, arm.router_args.get("encoder")
        if key not in self._known:
            prompts = [example.prompt for example in self.examples[n]]
            self._known[key] = arm.known(self.base, banks, self.goals[n].task.name, prompts)
        return self._known[key]
