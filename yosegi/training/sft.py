"""Train one expert: a base, examples, a name. Killed at any step, the same call goes on where it was."""

from collections.abc import Sequence
from typing import Any

from yosegi.bases import Base
from yosegi.core.expert import Expert
from yosegi.run import Run
from yosegi.tasks import Example
from yosegi.training.fleet import fleet
from yosegi.training.settings import Settings


def train(
    base: Base,
    examples: Sequence[Example],
    name: str,
    run: Run,
    settings: Settings | None = None,
    *,
    task: str | Sequence[str] = (),
    **options: Any,
) -> Expert:
    """Train one expert: a fleet of one.

    Args:
        base: what it stands beside.
        examples: what it learns from, in order.
        name: of the expert.
        run: gets the metrics, and the checkpoint while the training lasts.
        settings: how.
        task: what it learns, by name.
        options: `keep`, `resume`, `validation` and others of `fleet`.
    """
    tasks = {name: [task] if isinstance(task, str) else list(task)}
    return fleet(base, {name: examples}, run, settings, tasks=tasks, **options)[0]
