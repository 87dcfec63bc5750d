"""Forgetting: general tasks, asked of every arm as of the base, so that "it forgets nothing" is a number.

Knowledge in English and Japanese (MMLU, JMMLU, NIILC, JCommonsenseQA) and plain texts in both (bits per character of general
prose and of Wikipedia, whole texts that no one trains on). The embedded base has its own general knowledge: the tables of
`skills`. A task that an expert of the comparison learnt is not general for it and is left out; so is one whose data is missing.

The rows are marked "general", which is how the report finds them (reporting/forgetting.py).
"""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from yosegi import tasks
from yosegi.bases import Base
from yosegi.engine.arm import Arm
from yosegi.errors import NoData
from yosegi.evaluation.measure import evaluate
from yosegi.run import Run
from yosegi.tasks import Task

PROBES = (
    ("mmlu", "test"),
    ("jmmlu", "test"),
    ("niilc", "test"),
    ("jcommonsenseqa", "test"),
    ("corpus/en_general_wiki", "validation"),
    ("corpus/ja_general", "validation"),
)
"""General tasks, and the split of each that is for measuring."""
TABLES = tuple((f"skills/{name}", "test") for name in ("mul", "capital", "unit", "binary", "janum", "ennum"))
MOST = 300
"""Questions of each, unless another limit is given."""


def probes(base: Base, arms: Sequence[Arm]) -> tuple[list[tuple[Task, str]], list[str]]:
    """Returns the general tasks that can be asked here, each with its split, and a line for each that cannot, which says why."""
    learnt = {task for arm in arms for expert in arm.experts for task in expert.tasks}
    available: list[tuple[Task, str]] = []
    missing: list[str] = []
    for name, split in TABLES if base.name == "nano" else PROBES:
        if any(name in (one, one.split("/")[0]) for one in learnt):
            missing.append(f"{name} is left out: an expert learnt it.")
            continue
        try:
            task = tasks.load(name)
            task.examples(split)
            available.append((task, split))
        except (NoData, LookupError) as error:
            missing.append(f"{name} is left out: {error}")
    if not available:
        raise NoData(f"No general task can be asked here. {missing[0]}")
    return available, missing


def forgetting(
    base: Base, arms: Sequence[Arm], run: Run, asked: Sequence[tuple[Task, str]], **settings: Any
) -> list[dict[str, Any]]:
    """Measures every arm on every general task that `probes` found; `settings` are more arguments of `evaluate`."""
    settings = {**settings, "limit": settings.get("limit") or MOST}
    rows: list[dict[str, Any]] = []
    for split, pairs in groupby(sorted(asked, key=lambda pair: pair[1]), key=lambda pair: pair[1]):
        rows += evaluate(base, arms, [task for task, _ in pairs], run, split=split, general=True, traced=0, **settings)
    return rows
