"""A router learns beside the experts of a library and is kept there as an arm: what `yosegi train-router` does, for Python.

train_router("static{constraint=free}(a,b)", "library", task=["gsm8k"], name="soup", granularity="layer")
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yosegi.tasks
from yosegi import registry
from yosegi.bases import Base
from yosegi.engine.arm import Arm
from yosegi.engine.kept import arms, save_arm
from yosegi.engine.spec import parse_arm, read_names, spec
from yosegi.errors import Invalid
from yosegi.library.card import check_base, check_name
from yosegi.library.store import Library
from yosegi.spec import arguments, quote
from yosegi.training.build import take_up
from yosegi.training.routers import check_learns, train_arm
from yosegi.training.settings import RouterSettings, Settings, check
from yosegi.training.train import as_list, open_library, open_run


def train_router(
    arm: str,
    library: str | Path | Library = "library",
    base: str | Base = "nano",
    *,
    task: str | Sequence[str] = (),
    experts: str | Sequence[str] = (),
    name: str | None = None,
    run: str | Path | None = None,
    overwrite: bool = False,
    resume: bool = True,
    **settings: Any,
) -> Arm:
    """Trains a router on examples of tasks, and keeps it in the library of its experts. Killed, the same call goes on.

    Args:
        arm: the router as a spec: "static{constraint=free}(a,b)", "predictor". Or the name of a bank of Poly or MHR: its table
            takes up the tasks, and its experts stay as they are.
        library: the folder of the experts.
        base: the model, or its name.
        task: what it learns from; by default the tasks of the experts.
        experts: those of a spec that names none, as in "a,b"; by default the originals of the library.
        name: of the kept arm; by default ROUTER-router, of a bank NAME-new.
        run: the folder for metrics and checkpoints; by default runs/train-router-LIBRARY.
        overwrite: replace an arm of that name.
        resume: go on from a checkpoint of the same training, if there is one.
        settings: fields of `RouterSettings` (training/settings.py).

    Raises:
        Invalid: the router has nothing to learn like this, or the name is taken. NoData: a task has no examples.
        Diverged: the loss stopped being finite.
    """
    from accelerate import PartialState

    how: RouterSettings = check(RouterSettings, settings)
    if name is not None:
        check_name(name)
    library = library if isinstance(library, Library) else Library(library)
    tasks, pool = as_list(task), read_names(as_list(experts))
    untrained = parse_arm(arm, library, pool, untrained=True)
    if bank := bool(untrained.router_state):
        _check_bank(untrained, arm, library, tasks, pool, resume)
    else:
        check_learns(untrained)
    default = f"{arm}-new" if bank else f"{untrained.router.rpartition(':')[2]}-router".lower()
    name = name or check_name(default)
    if name in arms(library) and not overwrite:
        raise Invalid(f"{library.path} has an arm called {name!r}: --overwrite replaces it, --name avoids it.")
    known = sorted({one for expert in untrained.experts for one in expert.tasks})
    loaded = {one.name: one for one in map(yosegi.tasks.load, tasks or known)}
    if not bank and "tasks" in arguments("routers", untrained.router) and set(loaded) - set(known):
        untrained = replace(untrained, router_args={"tasks": list(loaded), **untrained.router_args})
    model, library = open_library(base, library, how)
    for expert in untrained.experts:
        check_base(expert, model.name, model.hash)
    examples = {name: one.examples("train") for name, one in loaded.items()}
    options = {
        "arm": arm, "library": str(library.path), "base": model.name, "task": tasks,
        "experts": [quote(one) for one in pool], "name": name, **how.model_dump(),
    }  # fmt: skip
    folder = open_run("train-router", run, library, options)
    if bank:
        sizes: dict[str, Any] = {"max_steps": how.steps or 100, "per_device_train_batch_size": how.batch_size or 16}
        loop = Settings(**sizes, limit=how.limit, max_length=how.max_length, seed=how.seed, dropout=0)
        rate = how.learning_rate or 0.1
        made = take_up(model, untrained, examples, folder, loop, router_learning_rate=rate, name=name)
    else:
        made = train_arm(model, untrained, examples, folder, how, name=name, resume=resume)
    if PartialState().is_main_process:
        save_arm(library, made, overwrite=overwrite)
    return made


def _check_bank(
    bank: Arm, text: str, library: Library, tasks: Sequence[str], experts: Sequence[str], resume: bool
) -> None:
    """Refuses what says nothing to a bank, whose table takes up new tasks as it is."""
    if registry.find("routers", bank.router).learns != "jointly":
        raise Invalid(f"{text} is trained already: name its router, as in {spec(replace(bank, router_state={}))}.")
    if text not in arms(library):
        raise Invalid(f"{text} is a bank, which takes up tasks as it is: arguments say nothing to it.")
    for flag, given in {"experts": experts, "no-resume": not resume}.items():
        if given:
            raise Invalid(f"{text} is a bank, which takes up tasks as it is: --{flag} says nothing to it.")
    if not tasks:
        raise Invalid(f"{text} is a bank: name the new tasks that it is to take up (--task).")
