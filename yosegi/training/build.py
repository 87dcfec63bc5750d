"""A library of LoRAs, built five ways, and the control.

    private   one expert a task
    shared    one expert for all tasks
    mbc       private experts, trained briefly, tell which tasks belong together; then one expert a cluster
    random    the same with clusters drawn by lot: what clustering itself is worth
    poly      a few experts and a table of tasks, trained together (routers/task_table.py)
    mhr       the same, each slice of a layer with a row of its own

Ostapenko et al. 2024, "Towards Modular LLMs by Building and Reusing a Library of LoRAs", arXiv:2405.11157.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial

from torch import Tensor

from yosegi import files
from yosegi.bases import Base
from yosegi.core.expert import Expert
from yosegi.engine.rows import data_hash
from yosegi.errors import Invalid, UnknownName
from yosegi.library.card import check_base, check_name
from yosegi.library.store import Library
from yosegi.partitions import Partition
from yosegi.partitions.by_cluster import by_cluster
from yosegi.partitions.by_task import by_task
from yosegi.partitions.random_clusters import random_clusters
from yosegi.partitions.shared import shared
from yosegi.routers.task_table import TaskTable
from yosegi.run import Run
from yosegi.tasks import Example
from yosegi.training.fleet import fleet
from yosegi.training.joint import fresh_bank, joint
from yosegi.training.reading import read
from yosegi.training.settings import Settings
from yosegi.training.validation import Validation

WAYS = ("private", "shared", "mbc", "random", "poly", "mhr")
BRIEF = 0.4
"""The share of the epochs that the private phase of MBC takes: two of five in the paper's only public script."""


def build(
    base: Base,
    library: Library,
    way: str,
    data: Mapping[str, Sequence[Example]],
    run: Run,
    settings: Settings,
    *,
    names: Mapping[str, str] | None = None,
    clusters: int = 10,
    space: str = "factors",
    brief: float = BRIEF,
    brief_library: Library | None = None,
    cluster_seed: int = 42,
    overwrite: bool = False,
    resume: bool = True,
    tokens_per_pass: int | None = None,
    validation: Validation | None = None,
) -> Partition:
    """Fill a library by one of `private`, `shared`, `mbc` and `random`. What the same call put there before is kept.

    The budget is counted in passes over the data (`settings.num_train_epochs`), the same for every way. MBC spends `brief`
    of them on private experts, which stay in a library of their own, and the rest on the clusters; random
    clusters get the rest alone, the same training as MBC's. With `settings.max_steps` every expert takes that many steps.

    Args:
        base: what the experts stand beside.
        library: gets them.
        way: one of the four.
        data: the examples of each task; `settings.limit` is how many of each task.
        run: gets the metrics, and NAME.partition.json with what the clusters were made from.
        settings: how, the same for all experts.
        names: what the expert of a task or cluster is called; by default as the task's last part.
        clusters: how many, for mbc and random.
        space: what MBC compares, factors or deltas.
        brief: the share of MBC's first phase.
        brief_library: where its private experts are kept, by default NAME-brief; several numbers of clusters may share one.
        cluster_seed: of k-means, and of the lot.
        overwrite: replace experts of the same names, instead of keeping or refusing them.
        resume: see `fleet`.
        tokens_per_pass: see `fleet`.
        validation: see `fleet`; not for MBC's first phase, whose experts only tell which tasks are alike.

    Returns who learnt from what, and why.

    Raises:
        Invalid: an expert of the same name was trained otherwise.
    """
    if way not in WAYS[:4]:
        raise UnknownName.among("way to build a library", way, WAYS[:4])
    if way in ("mbc", "random") and not 1 <= clusters <= len(data):  # before the private phase, and not after it
        raise Invalid(f"clusters={clusters}: {len(data)} tasks can be 1 to {len(data)} clusters.")
    for name in (names or {}).values():
        check_name(name)
    data = {task: examples[: settings.limit] for task, examples in data.items()}
    if way != "private":  # of a group of tasks the limit has been taken from each
        settings = settings.model_copy(update={"limit": None})
    if way == "private":
        found = by_task(data)
    elif way == "shared":
        found = shared(data)
    elif way == "random":
        found, settings = random_clusters(data, clusters, seed=cluster_seed), _share(settings, 1 - brief)
    else:
        path = library.path.with_name(f"{library.path.name}-brief")
        beside = Library(path, library.base_hash, library.base) if brief_library is None else brief_library
        build(
            base, beside, "private", data, run, _share(settings, brief),
            names=names, overwrite=overwrite, resume=resume, tokens_per_pass=tokens_per_pass,
        )  # fmt: skip
        found = by_cluster(data, beside.load(), clusters, space=space, seed=cluster_seed)
        settings = _share(settings, 1 - brief)
    called = {name: name.rstrip("/").rpartition("/")[2] for name in found.groups} | dict(names or {})
    if len({called[name] for name in found.groups}) < len(found.groups):
        raise Invalid("Two of these tasks would give experts of one name; say what theirs are called (names).")
    found = Partition(
        {called[name]: rows for name, rows in found.groups.items()},
        {called[name]: tasks for name, tasks in found.tasks.items()},
        found.evidence,
    )
    if found.evidence:
        files.write_json(
            run.path / f"{library.path.name}.partition.json", {**found.evidence, "tasks": dict(found.tasks)}
        )
    there = [] if overwrite or not library.path.is_dir() else [name for name in found.groups if name in library]
    for name in there:
        card = library.card(name)
        check_base({**card, "name": name}, base.name, base.hash)
        rows = read(base, found.groups[name], settings).rows
        same = card["recipe"] == settings.model_dump() and card["data_hash"] == data_hash(rows)
        if not same or card["task"] != list(found.tasks[name]):
            raise Invalid(
                f"{library.path} has another expert called {name!r}: --overwrite replaces it, another --library avoids it."
            )
    if missing := {name: rows for name, rows in found.groups.items() if name not in there}:
        keep = partial(library.add, overwrite=overwrite)
        fleet(
            base, missing, run, settings,
            tasks=found.tasks, keep=keep, resume=resume, tokens_per_pass=tokens_per_pass, validation=validation,
        )  # fmt: skip
    return found


def build_bank(
    base: Base,
    way: str,
    data: Mapping[str, Sequence[Example]],
    run: Run,
    settings: Settings,
    *,
    experts: int = 8,
    heads: int = 4,
    router_learning_rate: float = 0.1,
    name: str | None = None,
    resume: bool = True,
    tokens_per_pass: int | None = None,
) -> tuple[list[Expert], dict[str, Tensor]]:
    """Poly or MHR: the experts, and what their table learnt. They mix factors, with a `TaskTable` of as many heads.

    Args:
        base: what the experts stand beside.
        way: poly or mhr.
        data: the examples of each task; `settings.limit` is how many of each.
        run: gets the metrics.
        settings: how.
        experts: how many all tasks share.
        heads: slices of a layer that are mixed on their own, for mhr.
        router_learning_rate: of the table's logits.
        name: of the bank, by default the way.
        resume: see `fleet`.
        tokens_per_pass: see `fleet`.
    """
    if way not in WAYS[4:]:
        raise UnknownName.among("way to train a bank", way, WAYS[4:])
    if settings.init not in ("kaiming", "gaussian", "normal"):
        raise Invalid(f"{way} needs experts that begin apart; {settings.init} gives all of them one start.")
    data = {task: examples[: settings.limit] for task, examples in data.items()}
    heads = heads if way == "mhr" else 1
    start = fresh_bank(base, name or way, experts, list(data), settings)
    return joint(
        base,
        start,
        TaskTable(heads),
        data,
        run,
        settings.model_copy(update={"limit": None}),
        name=name or way,
        mix="factors",
        heads=heads,
        router_learning_rate=router_learning_rate,
        resume=resume,
        tokens_per_pass=tokens_per_pass,
    )


def take_up(
    base: Base,
    experts: Sequence[Expert],
    learnt: Mapping[str, Tensor],
    data: Mapping[str, Sequence[Example]],
    run: Run,
    settings: Settings,
    *,
    heads: int = 1,
    router_learning_rate: float = 0.1,
    name: str = "poly-z",
) -> dict[str, Tensor]:
    """New tasks for Poly or MHR: a table of them alone, begun at the mean of the old one's rows; the experts stay.

    Args:
        base: what the experts stand beside.
        experts: a bank's.
        learnt: its table.
        data: a few examples of each new task.
        run: gets the metrics.
        settings: how.
        heads: of the bank.
        router_learning_rate: of the new logits.
        name: in the metrics.

    Returns the new table; it counts the tasks of `data` in alphabetical order, as every bank does.
    """
    known = [dataclasses.replace(e, card={**e.card, "task": list(data)}) for e in experts]
    begin = {
        key: value.mean(0, keepdim=True).expand(len(data), *value.shape[1:]).clone() for key, value in learnt.items()
    }
    return joint(
        base,
        known,
        TaskTable(heads),
        data,
        run,
        settings,
        name=name,
        mix="factors",
        heads=heads,
        router_learning_rate=router_learning_rate,
        learnt=begin,
        router_only=True,
    )[1]


def _share(settings: Settings, share: float) -> Settings:
    """The same training with a part of the passes or steps."""
    return settings.model_copy(
        update={
            "num_train_epochs": share * settings.num_train_epochs,
            "max_steps": settings.max_steps and max(1, round(share * settings.max_steps)),
        }
    )
