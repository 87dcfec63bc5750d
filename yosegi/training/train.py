"""Tasks in, experts in a library out: what `yosegi train` does, for Python.

import yosegi

experts = yosegi.train(["skills/reverse", "skills/sort"], base="nano", library="library", rank=4, max_steps=100)
bank = yosegi.train(["mgsm_ja", "niilc"], build="loramoe{experts=4}", library="library")
"""

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

import yosegi.tasks
from yosegi import files
from yosegi.bases import Base, load
from yosegi.core.expert import Expert
from yosegi.engine.kept import arms
from yosegi.errors import Invalid, UnknownName
from yosegi.library.card import check_name
from yosegi.library.store import Library
from yosegi.partitions.by_type import by_type, typed
from yosegi.run import Run
from yosegi.spec import read
from yosegi.tasks import Example, subset
from yosegi.training.build import build as build_library
from yosegi.training.build import build_bank, keep_bank
from yosegi.training.loramoe import keep_types, loramoe
from yosegi.training.settings import (
    Build,
    DenseSettings,
    Loramoe,
    LoraMoeSettings,
    Poly,
    Private,
    Random,
    Settings,
    Shared,
    make_build,
    make_settings,
)
from yosegi.training.validation import Validation

OBJECTIVES = ("sft", "lm")


def train(
    task: str | Sequence[str] | Mapping[str, Sequence[Example]],
    base: str | Base = "nano",
    library: str | Path | Library = "library",
    *,
    method: str = "lora",
    build: str | Build = "private",
    name: str | None = None,
    eval_task: str | Sequence[str] = (),
    eval_steps: int = 50,
    run: str | Path | None = None,
    overwrite: bool = False,
    resume: bool = True,
    **settings: Any,
) -> list[Expert]:
    """Train experts into a library. Killed, the same call goes on where it was; what it trained before is not trained again.

    Args:
        task: the tasks, by name; or examples of one's own, by task.
        base: the model, or its name.
        library: the folder of the experts.
        method: lora, pissa, olora, or whole weights by galore, apollo, full; with arguments: "galore{update_gap=50}".
        build: private, shared, mbc, random, poly, mhr or loramoe (settings.py); with arguments: "mbc{clusters=10}".
        name: of the expert or the bank; by default the task's.
        eval_task: tasks on whose validation split the loss is measured while training.
        eval_steps: steps from one such measurement to the next.
        run: the folder for metrics and checkpoints; by default runs/train-LIBRARY.
        overwrite: replace experts of the same names.
        resume: go on from a checkpoint of the same training, if there is one.
        settings: fields of `Settings` (training/settings.py).

    Raises:
        Invalid: a setting cannot be right, or an expert of the same name was trained otherwise.
        Diverged: the loss stopped being finite; experts whose loss did not are kept.
    """
    from accelerate import PartialState

    own = isinstance(task, Mapping)
    asked = [task] if isinstance(task, str) else list(dict.fromkeys(task))
    held_out = [eval_task] if isinstance(eval_task, str) else list(eval_task)
    how = make_build(build) if isinstance(build, str) else build
    chosen = make_settings(method, how, settings)
    _check(how, chosen, method, name, asked, held_out)
    loaded = {t.name: t for t in map(yosegi.tasks.load, () if own else asked)}
    names = name_experts(list(loaded) or asked, how, name)
    reads = "examples" if chosen.pack is None else "documents"
    data: Mapping[str, Sequence[Example]] = (
        task if isinstance(task, Mapping) else {key: getattr(t, reads)("train") for key, t in loaded.items()}
    )
    sets = {t.name: getattr(t, reads)("validation") for t in map(yosegi.tasks.load, held_out)}
    for one in loaded.values():
        if PartialState().is_main_process and (note := one.note("train")):
            print(f"{one.name}: {note}", file=sys.stderr)
    model = base if isinstance(base, Base) else load(base, chosen.dtype, chosen.load_in_4bit)
    path = library.path if isinstance(library, Library) else Path(library)
    shelf = Library(path, model.hash, model.name)
    types = None
    if isinstance(how, Loramoe | Poly):
        check_bank(shelf, names["shared"], how.experts, overwrite)
    if isinstance(how, Loramoe):
        data = {key: subset(examples, chosen.limit) for key, examples in data.items()}
        types = by_type(data, rules=how.types) if how.types else by_type(data, {key: names[key] for key in data})
        for word in [*(how.shares or {}), *how.curriculum]:
            if word not in {*types.groups, *data}:
                raise UnknownName.among("type or task", word, [*types.groups, *data])
    options = {
        "task": asked, "base": model.name, "library": str(path), "method": method, "build": str(build), "name": name,
        "eval_task": held_out, "eval_steps": eval_steps, **chosen.model_dump(),
    }  # fmt: skip
    where = Run(run or Path("runs") / f"train-{path.name}", {"command": "train", **options})
    if isinstance(build, str) and not own:
        files.write(where.path / "run.yaml", yaml.safe_dump(options, sort_keys=False, allow_unicode=True))
    if isinstance(how, Loramoe | Poly):
        if isinstance(how, Poly):
            bank = build_bank(model, how, data, where, chosen, name=names["shared"], resume=resume)
        else:
            assert types is not None and isinstance(chosen, LoraMoeSettings)
            keep_types(where.path / f"{names['shared']}.types.json", types)
            whole = chosen.model_copy(update={"limit": None})  # which has been taken from each task
            bank = loramoe(
                model, typed(types, data), where, whole, experts=how.experts, name=names["shared"], resume=resume
            )
        if PartialState().is_main_process:
            keep_bank(shelf, bank, overwrite)
        made = [expert.name for expert in bank.experts]
    else:
        validation = Validation(sets, eval_steps)
        found = build_library(
            model, shelf, how, data, where, chosen,
            names=names, overwrite=overwrite, resume=resume, validation=validation,
        )  # fmt: skip
        made = list(found.groups)
    PartialState().wait_for_everyone()
    return shelf.load(made)


def name_experts(tasks: Sequence[str], how: Build, name: str | None) -> dict[str, str]:
    """Returns what the expert of each task is called, and under "shared" that of all tasks, or the bank.

    Raises:
        Invalid: two would have one name, or a name cannot be one.
    """
    names = {task: name if name and isinstance(how, Private) else short(task) for task in tasks}
    if len(set(names.values())) < len(tasks):
        raise Invalid("Two of these tasks would give experts of one name: train them one by one, with --name.")
    joined = "+".join(names.values())
    if isinstance(how, Shared):
        names["shared"] = name or (joined if len(joined.encode()) <= 100 else "shared")
    else:
        names["shared"] = name or type(how).__name__.lower()
    for wanted in names.values():
        check_name(wanted)  # now, and not after the training
    return names


def short(task: str) -> str:
    """What an expert of a task is called: the last part, without folders, endings and arguments."""
    name, options = read(task) if "{" in task else (task, {})
    part = str(options.get("path", name)).rstrip("/")
    part = part.partition("hf:")[2].partition(":")[0] if "hf:" in part else part.rpartition(":")[2]
    return re.sub(r"\.(jsonl|json|csv|tsv|parquet|txt|md)(\.gz)?$", "", part.rpartition("/")[2]) or task


def check_bank(library: Library, name: str, experts: int, overwrite: bool) -> None:
    """Whether a bank of that name may come into the library; what a killed call of the same has left there is no hindrance."""
    if overwrite or not library.path.is_dir():
        return
    avoid = "--overwrite replaces it, --name avoids it."
    if name in arms(library):
        raise Invalid(f"{library.path} has an arm called {name!r}: {avoid}")
    for expert in (f"{name}-{e}" for e in range(experts)):
        if expert in library and (library.card(expert).get("training") or {}).get("bank") != name:
            raise Invalid(f"{library.path} has another expert called {expert!r}: {avoid}")


def _check(
    how: Build, settings: Settings, method: str, name: str | None, tasks: Sequence[str], eval_task: Sequence[str]
) -> None:
    """What does not go together."""
    kind = type(how).__name__.lower()
    if not tasks:
        raise Invalid("Name a task to learn from (--task).")
    if isinstance(settings, DenseSettings) and not isinstance(how, Private | Shared):
        raise Invalid(f"--method {method} trains expert by expert: --build private or shared, not {kind}.")
    if name in ("", "base", "all"):
        raise Invalid(f"An expert cannot be called {name!r}: `eval` means something else by it.")
    if not isinstance(how, Loramoe) and settings.objective not in OBJECTIVES:
        raise UnknownName.among("objective to train experts with", settings.objective, OBJECTIVES)
    if eval_task and isinstance(how, Loramoe | Poly):
        raise Invalid(f"--eval-task does not go with --build {kind}: its router knows only the tasks it learns from.")
    if name and isinstance(how, Private | Random) and len(tasks) > 1:
        raise Invalid("--name goes with one task, or with --build shared, poly, mhr or loramoe.")
