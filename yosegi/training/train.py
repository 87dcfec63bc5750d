"""Tasks in, experts in a library out: what `yosegi train` does, for Python.

import yosegi

experts = yosegi.train(["skills/reverse", "skills/sort"], base="nano", library="library", rank=4, max_steps=100)
bank = yosegi.train(["mgsm_ja", "niilc"], build="loramoe{experts=4}", library="library")
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

import yosegi.tasks
from yosegi import files
from yosegi.bases import Base, LoadSettings, load
from yosegi.core.expert import Expert
from yosegi.errors import Invalid, UnknownName
from yosegi.library.store import Library
from yosegi.partitions.by_type import by_type, typed
from yosegi.run import Run
from yosegi.tasks import Example, subset
from yosegi.training.build import build as build_library
from yosegi.training.build import build_bank, check_bank, keep_bank, name_experts
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
    """Trains experts into a library. Killed, the same call goes on where it was; what it trained before is not trained again.

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

    asked, held_out = as_list(task), as_list(eval_task)
    how = make_build(build) if isinstance(build, str) else build
    chosen = make_settings(method, how, settings)
    _check(how, chosen, method, name, asked, held_out)
    split = "examples" if chosen.pack is None else "documents"
    data: dict[str, Sequence[Example]] = {}
    if isinstance(task, Mapping):
        data |= task
    for one in () if isinstance(task, Mapping) else map(yosegi.tasks.load, asked):
        data[one.name] = getattr(one, split)("train")
        if PartialState().is_main_process and (note := one.note("train")):
            print(f"{one.name}: {note}", file=sys.stderr)
    sets = {one.name: getattr(one, split)("validation") for one in map(yosegi.tasks.load, held_out)}
    names = name_experts(list(data), how, name)
    model, library = open_library(base, library, chosen)
    types = None
    if isinstance(how, Loramoe | Poly):
        check_bank(library, names["shared"], how.experts, overwrite)
    if isinstance(how, Loramoe):
        data = {key: subset(examples, chosen.limit) for key, examples in data.items()}
        types = by_type(data, rules=how.types) if how.types else by_type(data, {key: names[key] for key in data})
        UnknownName.check("type or task", [*(how.shares or {}), *how.curriculum], [*types.groups, *data])
    options = {
        "task": asked, "base": model.name, "library": str(library.path), "method": method, "build": str(build), "name": name,
        "eval_task": held_out, "eval_steps": eval_steps, **chosen.model_dump(),
    }  # fmt: skip
    repeatable = isinstance(build, str) and not isinstance(task, Mapping)
    folder = open_run("train", run, library, options, repeatable)
    if isinstance(how, Loramoe | Poly):
        if isinstance(how, Poly):
            bank = build_bank(model, how, data, folder, chosen, name=names["shared"], resume=resume)
        else:
            assert types is not None and isinstance(chosen, LoraMoeSettings)
            keep_types(folder.path / f"{names['shared']}.types.json", types)
            whole = chosen.model_copy(update={"limit": None})  # it has been taken from each task
            grouped, sizes = typed(types, data), {"experts": how.experts, "name": names["shared"]}
            bank = loramoe(model, grouped, folder, whole, **sizes, resume=resume)
        if PartialState().is_main_process:
            keep_bank(library, bank, overwrite)
        made = [expert.name for expert in bank.experts]
    else:
        more = {"overwrite": overwrite, "resume": resume, "validation": Validation(sets, eval_steps)}
        made = list(build_library(model, library, how, data, folder, chosen, names=names, **more).groups)
    PartialState().wait_for_everyone()
    return library.load(made)


def as_list(names: str | Sequence[str] | Mapping[str, Any]) -> list[str]:
    """Returns one name or several as a list, each once."""
    return [names] if isinstance(names, str) else list(dict.fromkeys(names))


def open_library(base: str | Base, library: str | Path | Library, settings: LoadSettings) -> tuple[Base, Library]:
    """Returns the loaded base, and the library of its experts."""
    model = base if isinstance(base, Base) else load(base, **settings.loading)
    path = library.path if isinstance(library, Library) else Path(library)
    return model, Library(path, model.hash, model.name)


def run_folder(command: str, run: str | Path | None, library: Library) -> Path:
    """Returns the folder of a command's run, by default runs/COMMAND-LIBRARY."""
    return Path(run or Path("runs") / f"{command}-{library.path.name}")


def open_run(
    command: str, run: str | Path | None, library: Library, options: Mapping[str, Any], repeatable: bool = True
) -> Run:
    """Returns the run of a command, by default runs/COMMAND-LIBRARY; its run.yaml gives the same again with --config."""
    folder = Run(run_folder(command, run, library), {"command": command, **options})
    if repeatable:
        files.write(folder.path / "run.yaml", yaml.safe_dump(dict(options), sort_keys=False, allow_unicode=True))
    return folder


def _check(
    how: Build, settings: Settings, method: str, name: str | None, tasks: Sequence[str], eval_task: Sequence[str]
) -> None:
    """Refuses options that do not go together."""
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
