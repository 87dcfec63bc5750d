"""Partitions: who learns from what. ({task: examples}, …) -> a Partition, which keeps its evidence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from yosegi.tasks import Example

Data = Mapping[str, Sequence[Example]]
"""The examples of each task, by its name."""


@dataclass(frozen=True)
class Partition:
    """Every example has one learner, unless the method says that learners overlap.

    Args:
        groups: learner -> what it learns from.
        tasks: learner -> the tasks these examples come from.
        evidence: why, as JSON: scores, votes, similarities; what a reader needs to doubt it.
    """

    groups: Data
    tasks: Mapping[str, tuple[str, ...]]
    evidence: Mapping[str, Any] = field(default_factory=dict)
