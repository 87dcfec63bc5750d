"""A library of LoRAs, built in several ways (settings.py has the arguments of each), and the control.

    private   one expert for each task
    shared    one expert for all tasks
    mbc       private experts, trained briefly, tell which tasks belong together; then one expert for each cluster
    random    the same with random clusters: what clustering itself is worth
    poly      a few experts and a table of tasks, trained together (routers/task_table.py)
    mhr       the same, each slice of a layer with a row of its own

Ostapenko et al. 2024, "Towards Modular LLMs by Building and Reusing a Library of LoRAs", arXiv:2405.11157.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from yosegi import files
from yosegi.bases import Base
from yosegi.engine.arm import Arm
from yosegi.engine.kept import save_arm
from yosegi.engine.rows import data_hash
from yosegi.errors import Invalid
from yosegi.library.card import check_base, check_name
from yosegi.library.store import Library
from yosegi.partitions import Partition
from yosegi.partitions.by_cluster import by_cluster
from yosegi.partitions.by_task import by_task
from yosegi.partitions.random_clusters import random_clusters
from yosegi.partitions.shared import shared
from yosegi.routers.task_table import TaskTable
from yosegi.run import Run
from yosegi.tasks import Example, subset
from yosegi.training import dense
from yosegi.training.data import read
from yosegi.training.fleet import fleet
from yosegi.training.joint import fresh_bank, joint
from yosegi.training.settings import Build, DenseSettings, Mbc, Poly, Private, Random, Settings, Shared


def build(
    base: Base,
    library: Library,
    how: Build,
    data: Mapping[str, Sequence[Example]],
    run: Run,
    settings: Settings,
    *,
    names: Mapping[str, str] | None = None,
    brief_library: Library | None = None,
    overwrite: bool = False,
    **options: Any,
) -> Partition:
    """Fill a library in one of the ways `Private`, `Shared`, `Mbc` and `Random`. What the same call put there before is kept.

    The budget is counted in passes over the data (`settings.num_train_epochs`), the same for every way. MBC spends `brief`
    of them on private experts, which stay in a library of their own, and the rest on the clusters; random
    clusters get the rest alone, the same training as MBC's. With `settings.max_steps` every expert takes that many steps.

    Args:
        base: what the experts stand beside.
        library: gets them.
        how: the way, with its arguments.
        data: the examples of each task; `settings.limit` is how many of each task.
        run: gets the metrics, and NAME.partition.json with what the clusters were made from.
        settings: the same for all experts; whole weights are trained one expert after the other.
        names: what the expert of a task or cluster is called; by default as the task's last part.
        brief_library: where MBC's private experts are kept, by default NAME-brief; several numbers of clusters may share one.
        overwrite: replace experts of the same names, instead of keeping or refusing them.
        options: `resume`, `tokens_per_pass` and `validation`, see `fleet`; MBC's first phase is not measured.

    Returns who learnt from what, and why.

    Raises:
        Invalid: an expert of the same name was trained otherwise.
    """
    if isinstance(how, Random) and how.clusters > len(data):  # before the private phase, and not after it
        raise Invalid(f"clusters={how.clusters}: {len(data)} tasks can be 1 to {len(data)} clusters.")
    for name in (names or {}).values():
        check_name(name)
    data = {task: subset(examples, settings.limit) for task, examples in data.items()}
    if not isinstance(how, Private):  # of a group of tasks the limit has been taken from each
        settings = settings.model_copy(update={"limit": None})
    if isinstance(how, Mbc):
        path = library.path.with_name(f"{library.path.name}-brief")
        first = Library(path, library.base_hash, library.base) if brief_library is None else brief_library
        unmeasured = {key: value for key, value in options.items() if key != "validation"}
        brief = part_of(settings, how.brief)
        build(base, first, Private(), data, run, brief, names=names, overwrite=overwrite, **unmeasured)
        found = by_cluster(data, first.load(), how.clusters, space=how.space, seed=how.cluster_seed)
    elif isinstance(how, Random):
        found = random_clusters(data, how.clusters, seed=how.cluster_seed)
    else:
        found = shared(data) if isinstance(how, Shared) else by_task(data)
    if isinstance(how, Random):
        settings = part_of(settings, 1 - how.brief)
    called = {name: name.rstrip("/").rpartition("/")[2] for name in found.groups} | dict(names or {})
    if len({called[name] for name in found.groups}) < len(found.groups):
        raise Invalid("Two of these tasks would give experts of one name; say what theirs are called (names).")
    groups = {called[name]: rows for name, rows in found.groups.items()}
    tasks = {called[name]: own for name, own in found.tasks.items()}
    if found.evidence:
        files.write_json(run.path / f"{library.path.name}.partition.json", {**found.evidence, "tasks": tasks})
    missing = {
        name: rows
        for name, rows in groups.items()
        if overwrite or not is_there(base, library, name, tasks[name], rows, settings)
    }
    keep = partial(library.add, overwrite=overwrite)
    if isinstance(settings, DenseSettings):  # no two experts can move the weights at once
        for name, rows in missing.items():
            weights_to = run.path / "weights" / name
            dense.train(base, rows, name, run, settings, task=tasks[name], weights_to=weights_to, keep=keep, **options)
    elif missing:
        fleet(base, missing, run, settings, tasks=tasks, keep=keep, **options)
    return Partition(groups, tasks, found.evidence)


def is_there(
    base: Base, library: Library, name: str, tasks: Sequence[str], examples: Sequence[Example], settings: Settings
) -> bool:
    """Whether a library has this expert already.

    Raises:
        Invalid: it has another one of that name, or one that learnt other texts under the same name of a task.
    """
    if not library.path.is_dir() or name not in library:
        return False
    card = library.card(name)
    check_base({**card, "name": name}, base.name, base.hash)
    known, avoid = f"{library.path} has another expert called {name!r}", "--overwrite replaces it, --name avoids it."
    if card["training"] != settings.model_dump() or card["task"] != list(tasks):
        raise Invalid(f"{known}: {avoid}")
    if card["data_hash"] != data_hash(read(base, examples, settings).rows):
        raise Invalid(f"{known}, which learnt other examples of {', '.join(tasks)}: {avoid}")
    return True


def build_bank(
    base: Base,
    how: Poly,
    data: Mapping[str, Sequence[Example]],
    run: Run,
    settings: Settings,
    *,
    name: str,
    **options: Any,
) -> Arm:
    """Returns the experts of Poly or MHR under their table. They mix factors, with a `TaskTable` of as many heads.

    Args:
        base: what the experts stand beside.
        how: the way, with its arguments.
        data: the examples of each task; `settings.limit` is how many of each.
        run: gets the metrics.
        settings: how.
        name: of the bank.
        options: `resume` and `tokens_per_pass`, see `fleet`.
    """
    data = {task: subset(examples, settings.limit) for task, examples in data.items()}
    start, all_of_it = fresh_bank(base, name, how.experts, list(data), settings), {"limit": None}
    return joint(
        base, start, TaskTable(how.slices), data, run, settings.model_copy(update=all_of_it), name=name, mix="factors",
        heads=how.slices, router_learning_rate=how.router_learning_rate, **options,
    )  # fmt: skip


def keep_bank(library: Library, arm: Arm, overwrite: bool = False) -> None:
    """Add the experts of a bank to a library, and the arm that they were trained in."""
    for expert in arm.experts:
        library.add(expert, overwrite=True)  # of these names is only what a killed call of this bank has left
    save_arm(library, arm, overwrite=overwrite)


def take_up(
    base: Base,
    bank: Arm,
    data: Mapping[str, Sequence[Example]],
    run: Run,
    settings: Settings,
    *,
    router_learning_rate: float = 0.1,
    name: str = "poly-z",
) -> Arm:
    """New tasks for Poly or MHR: a table of them alone, begun at the mean of the old one's rows; the experts stay.

    Args:
        base: what the experts stand beside.
        bank: what `build_bank` made.
        data: a few examples of each new task.
        run: gets the metrics.
        settings: how.
        router_learning_rate: of the new logits.
        name: of the new arm. Its table counts the tasks of `data` in alphabetical order, as every bank does.
    """
    known = [dataclasses.replace(e, card={**e.card, "task": list(data)}) for e in bank.experts]
    begin = {
        key: value.mean(0, keepdim=True).expand(len(data), *value.shape[1:]).clone()
        for key, value in bank.router_state.items()
    }
    return joint(
        base, known, TaskTable(bank.heads), data, run, settings, name=name, mix="factors", heads=bank.heads,
        router_learning_rate=router_learning_rate, state=begin, router_only=True,
    )  # fmt: skip


def part_of(settings: Settings, share: float) -> Settings:
    """The same training with a part of the passes or steps."""
    return settings.model_copy(
        update={
            "num_train_epochs": share * settings.num_train_epochs,
            "max_steps": settings.max_steps and max(1, round(share * settings.max_steps)),
        }
    )
