"""Which experts are active on which group of examples: easy and hard ones, one language and another. For the report.

The groups are those of a partition (partitions/by_type.py), and what the router does on each is traced as on a task.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from yosegi import files
from yosegi.bases import Base
from yosegi.core.model import Banks
from yosegi.engine.arm import Arm
from yosegi.evaluation.routing import trace
from yosegi.run import Run
from yosegi.tasks import Example

Grouped = Mapping[str, Mapping[str, Sequence[Example]]]
"""Group -> task -> examples."""


def trace_groups(base: Base, arm: Arm, groups: Grouped, run: Run, *, each: int = 16, name: str = "") -> dict[str, Any]:
    """Returns the trace of each group (`routing.trace`), and adds it to the run's `routing.json`.

    Args:
        base: the model.
        arm: experts under a router.
        groups: the examples of each task, by group.
        run: the run that gets the trace.
        each: the most examples of a group, its tasks in turn.
        name: the name in the report; by default the arm's name and "by type".
    """
    path, name = run.path / "routing.json", name or f"{arm.name} by type"
    subset = {group: in_turn(tasks, each) for group, tasks in groups.items()}
    with arm.attached(base) as banks:
        if banks is None:
            return {}
        known = {group: _known(base, arm, banks, chosen) for group, chosen in subset.items()}
        examples = {group: [example for _, example in chosen] for group, chosen in subset.items() if chosen}
        router = {"experts": list(banks.names), **trace(base, banks, examples, known)}
    routing = files.read_json(path) if path.exists() else {"experts": router["experts"], "routers": {}}
    routing["routers"][name] = router
    files.write_json(path, routing)
    return router


def in_turn(tasks: Mapping[str, Sequence[Example]], most: int) -> list[tuple[str, Example]]:
    """Returns the first example of each task, then the second of each, and so on; those of one task stand together."""
    ranked = [(place, task, example) for task, of_task in tasks.items() for place, example in enumerate(of_task)]
    chosen = {(task, place) for place, task, _ in sorted(ranked, key=lambda one: one[0])[:most]}
    return [(task, example) for place, task, example in ranked if (task, place) in chosen]


def _known(base: Base, arm: Arm, banks: Banks, chosen: Sequence[tuple[str, Example]]) -> dict[str, Any]:
    """What the router may know of each example, by argument of `Banks.set_batch`."""
    each = [arm.known(base, banks, task, [example.prompt]) for task, example in chosen]
    known: dict[str, Any] = {}
    for what in each[0] if each else ():
        values = [one[what] for one in each]
        is_tensor = isinstance(values[0], torch.Tensor)
        known[what] = torch.cat(values) if is_tensor else [value for of_one in values for value in of_one]
    return known
