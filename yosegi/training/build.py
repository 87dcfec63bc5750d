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
import json
import re
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Unpack, cast

from yosegi import files, spec
from yosegi.bases import Base
from yosegi.engine.arm import Arm
from yosegi.engine.kept import arms, save_arm
from yosegi.engine.rows import data_hash
from yosegi.errors import Invalid, shown
from yosegi.inits import start_of
from yosegi.library.card import check_base, check_name
from yosegi.library.store import Library
from yosegi.partitions import Data, Partition
from yosegi.partitions.by_cluster import by_cluster
from yosegi.partitions.by_task import by_task
from yosegi.partitions.random_clusters import random_clusters
from yosegi.partitions.shared import shared
from yosegi.routers.task_table import TaskTable
from yosegi.run import Run
from yosegi.tasks import Example, subset
from yosegi.training import checkpoint, dense
from yosegi.training.data import EPOCHS, read
from yosegi.training.fleet import fleet
from yosegi.training.job import ExpertOptions, Options
from yosegi.training.joint import fresh_bank, joint
from yosegi.training.settings import CUT, Build, DenseSettings, Mbc, Poly, Private, Random, Settings, Shared


def build(
    base: Base,
    library: Library,
    how: Build,
    data: Data,
    run: Run,
    settings: Settings,
    *,
    names: Mapping[str, str] | None = None,
    brief_library: Library | None = None,
    overwrite: bool = False,
    **options: Unpack[ExpertOptions],
) -> Partition:
    """Fills a library in one of the ways `Private`, `Shared`, `Mbc` and `Random`. What the same call put there before is kept.

    The budget is counted in passes over the data (`settings.num_train_epochs`), the same for every way. MBC spends `brief`
    of them on private experts (all, with after=full), which stay in a library of their own, and the rest on the clusters; random
    clusters get the rest alone, the same training as MBC's. With `settings.max_steps` every expert takes that many steps.

    Args:
        base: the model that the experts are trained beside.
        library: gets them.
        how: the way, with its arguments.
        data: the examples of each task; `settings.limit` is how many of each task.
        run: gets the metrics, and NAME.partition.json with what the clusters were made from.
        settings: the same for all experts; whole weights are trained one expert after the other.
        names: of the expert of a task or cluster; by default the task's last part.
        brief_library: where MBC's private experts are kept, by default NAME-brief; several numbers of clusters may share one.
        overwrite: replace experts of the same names, instead of keeping or refusing them.
        options: see `ExpertOptions`; MBC's first phase is not validated.

    Returns which expert learnt from what, and why.

    Raises:
        Invalid: an expert of the same name was trained otherwise.
    """
    if isinstance(how, Random) and how.clusters > len(data):  # before the private phase, and not after it
        raise Invalid(f"clusters={how.clusters}: {len(data)} tasks can be 1 to {len(data)} clusters.")
    for name in (names or {}).values():
        check_name(name)
    data, whole = _limited(data, settings)
    settings = settings if isinstance(how, Private) else whole
    if isinstance(how, Mbc):
        path = library.path.with_name(f"{library.path.name}-brief")
        first = Library(path, library.base_hash, library.base) if brief_library is None else brief_library
        brief = part_of(settings, 1.0 if how.after == "full" else how.brief)
        unmeasured = cast(ExpertOptions, {**options, "validation": None})
        build(base, first, Private(), data, run, brief, names=names, overwrite=overwrite, **unmeasured)
        experts = first.load()
        start = start_of(base.model, experts[0]) if how.space == "moved" else None
        partition = by_cluster(data, experts, how.clusters, space=how.space, seed=how.cluster_seed, start=start)
    elif isinstance(how, Random):
        partition = random_clusters(data, how.clusters, seed=how.cluster_seed)
    else:
        partition = shared(data) if isinstance(how, Shared) else by_task(data)
    if isinstance(how, Random):
        settings = part_of(settings, 1 - how.brief)
    called = {name: (names or {}).get(name) or name.rstrip("/").rpartition("/")[2] for name in partition.groups}
    if len(set(called.values())) < len(called):
        raise Invalid("Two of these tasks would give experts of one name; say what theirs are called (names).")
    groups = {called[name]: rows for name, rows in partition.groups.items()}
    tasks = {called[name]: of_expert for name, of_expert in partition.tasks.items()}
    if partition.evidence:
        files.write_json(run.path / f"{library.path.name}.partition.json", {**partition.evidence, "tasks": tasks})
    missing = {
        name: rows
        for name, rows in groups.items()
        if overwrite or not is_there(base, library, name, tasks[name], rows, settings)
    }
    options["keep"] = partial(library.add, overwrite=overwrite)
    if isinstance(settings, DenseSettings):  # no two experts can move the weights at once
        for name, rows in missing.items():
            weights_to = run.path / "weights" / name
            dense.train(base, rows, name, run, settings, task=tasks[name], weights_to=weights_to, **options)
    elif missing:
        fleet(base, missing, run, settings, tasks=tasks, **options)
    _forget(run, groups, settings)
    return Partition(groups, tasks, partition.evidence)


def _forget(run: Run, names: Collection[str], settings: Settings) -> None:
    """Deletes the checkpoint that a process has left which was killed after it had kept the last of these experts."""
    wanted = json.loads(json.dumps(settings.model_dump(exclude=set(CUT))))
    for folder in sorted((run.path / "checkpoint").glob("*")):
        saved, progress = checkpoint.read(folder)
        learners = set(saved.get("names", ()))
        if learners and progress.get("over") and learners <= set(names) and wanted.items() <= saved.items():
            files.remove_folder(folder)


def is_there(
    base: Base, library: Library, name: str, tasks: Sequence[str], examples: Sequence[Example], settings: Settings
) -> bool:
    """Returns whether a library has this expert already.

    Raises:
        Invalid: it has another one of that name, or one that learnt other texts under the same name of a task.
    """
    if not library.path.is_dir() or name not in library:
        return False
    card = library.card(name)
    check_base({**card, "name": name}, base.name, base.hash)
    known, avoid = f"{library.path} has another expert called {name!r}", "--overwrite replaces it, --name avoids it."
    taught = {**type(settings)().model_dump(), **card["training"], **dict.fromkeys(CUT), "task": card["task"]}
    asked = {**settings.model_dump(), **dict.fromkeys(CUT), "task": list(tasks)}
    if differ := [key for key in {**asked, **taught} if taught.get(key) != asked.get(key)]:
        how = [f"{key} was {shown(taught.get(key), 60)}, is {shown(asked.get(key), 60)}" for key in differ[:3]]
        raise Invalid(f"{known} ({'; '.join(how)}): {avoid}")
    if card["data_hash"] != data_hash(read(base, examples, settings).rows):
        raise Invalid(f"{known}, which learnt other examples of {', '.join(tasks)}: {avoid}")
    return True


def name_experts(tasks: Sequence[str], how: Build, name: str | None) -> dict[str, str]:
    """Returns the name of each task's expert, and under "shared" that of the expert of all tasks, or of the bank.

    Raises:
        Invalid: two would have one name, or a name cannot be one.
    """
    names = {task: name if name and isinstance(how, Private) else short(task) for task in tasks}
    if len(set(names.values())) < len(tasks):
        raise Invalid("Two of these tasks would give experts of one name: train them one by one, with --name.")
    joined = "+".join(names.values())
    default = joined if len(joined.encode()) <= 100 else "shared"
    names["shared"] = name or (default if isinstance(how, Shared) else type(how).__name__.lower())
    for wanted in names.values():
        check_name(wanted)  # now, and not after the training
    return names


def short(task: str) -> str:
    """Returns the name of a task's expert: its last part, without folders, endings and arguments."""
    name, options = spec.read(task) if "{" in task else (task, {})
    part = str(options.get("path", name)).rstrip("/")
    part = part.partition("hf:")[2].partition(":")[0] if "hf:" in part else part.rpartition(":")[2]
    return re.sub(r"\.(jsonl|json|csv|tsv|parquet|txt|md)(\.gz)?$", "", part.rpartition("/")[2]) or task


def build_bank(
    base: Base, how: Poly, data: Data, run: Run, settings: Settings, name: str, **options: Unpack[Options]
) -> Arm:
    """Returns the experts of Poly or MHR under their table, which are called NAME-0, NAME-1, …

    They mix factors, with a `TaskTable` of as many heads as there are slices. `settings.limit` is how many examples of each task.
    """
    (data, whole), heads = _limited(data, settings), getattr(how, "heads", 1)
    return joint(
        base, fresh_bank(base, name, how.experts, list(data), settings), TaskTable(heads), data, run, whole, name=name,
        heads=heads, router_learning_rate=how.router_learning_rate, **options,
    )  # fmt: skip


def check_bank(library: Library, name: str, experts: int, overwrite: bool) -> None:
    """Refuses a bank whose name is taken in the library; what a killed call of the same has left there is no hindrance."""
    if overwrite or not library.path.is_dir():
        return
    avoid = "--overwrite replaces it, --name avoids it."
    if name in arms(library):
        raise Invalid(f"{library.path} has an arm called {name!r}: {avoid}")
    for expert in (f"{name}-{e}" for e in range(experts)):
        if expert in library and (library.card(expert).get("training") or {}).get("bank") != name:
            raise Invalid(f"{library.path} has another expert called {expert!r}: {avoid}")


def keep_bank(library: Library, arm: Arm, overwrite: bool = False) -> None:
    """Adds an arm to a library, and those of its experts that were made anew for it."""
    for expert in arm.experts:
        if "sha256" not in expert.card:
            library.add(expert, overwrite=True)  # of these names is only what a killed call of this bank has left
    save_arm(library, arm, overwrite=overwrite)


def take_up(
    base: Base,
    bank: Arm,
    data: Data,
    run: Run,
    settings: Settings,
    *,
    router_learning_rate: float = 0.1,
    name: str = "poly-z",
) -> Arm:
    """Returns a bank of Poly or MHR under a table of new tasks, begun at the mean of the old one's rows; the experts stay.

    `data` has a few examples of each new task; the table counts them in alphabetical order, as every bank does.
    """
    experts = [dataclasses.replace(e, card={**e.card, "task": list(data)}) for e in bank.experts]
    begin = {
        key: value.mean(0, keepdim=True).expand(len(data), *value.shape[1:]).clone()
        for key, value in bank.router_state.items()
    }
    return joint(
        base, experts, TaskTable(bank.heads), data, run, settings, name=name, heads=bank.heads,
        router_learning_rate=router_learning_rate, state=begin, router_only=True,
    )  # fmt: skip


def part_of(settings: Settings, share: float) -> Settings:
    """Returns the same training with a part of the passes or steps."""
    steps = settings.max_steps and max(1, round(share * settings.max_steps))
    return settings.model_copy(
        update={"num_train_epochs": share * (settings.num_train_epochs or EPOCHS), "max_steps": steps}
    )


def _limited(data: Data, settings: Settings) -> tuple[Data, Settings]:
    """Returns `limit` examples of each task, drawn from all, and the settings of a training on all of these."""
    return {task: subset(rows, settings.limit) for task, rows in data.items()}, settings.model_copy(
        update={"limit": None}
    )
