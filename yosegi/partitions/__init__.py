"""Partitions: which expert trains on which data. ({task: examples}, …) -> a Partition, which keeps its evidence."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from yosegi.tasks import Example

Data = Mapping[str, Sequence[Example]]
"""The examples of each task, by its name."""


@dataclass(frozen=True)
class Partition:
    """Every example has one learner, unless the method says that learners overlap.

    Args:
        groups: learner -> its examples.
        tasks: learner -> the tasks of these examples.
        evidence: the reasons as JSON: scores, votes, similarities.
    """

    groups: Data
    tasks: Mapping[str, tuple[str, ...]]
    evidence: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls, labelled: Iterable[tuple[str, str, Example]], evidence: Mapping[str, Any], names: Iterable[str] = ()
    ) -> "Partition":
        """Returns the partition of (learner, task, example) rows: the learners of `names` first, none of them empty."""
        groups: dict[str, list[Example]] = {name: [] for name in names}
        tasks: dict[str, dict[str, None]] = {}
        for learner, task, example in labelled:
            groups.setdefault(learner, []).append(example)
            tasks.setdefault(learner, {})[task] = None
        groups = {name: examples for name, examples in groups.items() if examples}
        return cls(groups, {name: tuple(tasks[name]) for name in groups}, evidence)

    @classmethod
    def of_tasks(cls, data: Data, tasks: Mapping[str, Sequence[str]], evidence: Mapping[str, Any]) -> "Partition":
        """Returns the partition that gives each learner whole tasks."""
        groups = {name: [example for task in held for example in data[task]] for name, held in tasks.items()}
        return cls(groups, {name: tuple(held) for name, held in tasks.items()}, evidence)
