"""`yosegi train-router`: a router learns beside the experts of a library, and is kept there."""

from pathlib import Path
from typing import Annotated, Any

import typer

from yosegi.commands._options import (
    BaseName,
    Data,
    DType,
    In4Bit,
    Json,
    LibraryDir,
    Resume,
    RunDir,
    Seed,
    begin,
    check,
    first_process,
    say,
)
from yosegi.errors import Invalid


def train_router(
    router: Annotated[
        str, typer.Option(help="A router that learns: static (CAT), softmax, centroid, phatgoose, predictor, …")
    ],
    library: LibraryDir = Path("library"),
    base: BaseName = "nano",
    task: Annotated[
        list[str] | None, typer.Option(help="What it learns from; by default the tasks of the experts.")
    ] = None,
    expert: Annotated[list[str] | None, typer.Option(help="Only these experts; by default all of the library.")] = None,
    name: Annotated[str | None, typer.Option(help="What it is called in the library; by default the router's.")] = None,
    mix: Annotated[str, typer.Option(help="outputs or factors, when it is used.")] = "outputs",
    granularity: Annotated[
        str, typer.Option(help="static and softmax: module, layer, block or global share a weight.")
    ] = "module",
    constraint: Annotated[str | None, typer.Option(help="static: softmax, free, sigmoid or nonneg.")] = None,
    top_k: Annotated[int | None, typer.Option(help="Experts it keeps.")] = None,
    temperature: Annotated[float | None, typer.Option(help="Above the default it spreads, below it sharpens.")] = None,
    encoder: Annotated[str | None, typer.Option(help="A sentence encoder for prompts; by default the base.")] = None,
    steps: Annotated[int | None, typer.Option(help="Of gradient: phatgoose 100, predictor 500.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="phatgoose 5e-3, predictor 1e-3.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Sequences at a time; for phatgoose of each expert.")] = None,
    limit: Annotated[int | None, typer.Option(help="Examples of a task: centroid 10, of prompts 500.", min=1)] = None,
    max_length: Annotated[int, typer.Option(help="Longest sequence, in tokens.", min=2)] = 1024,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a router of the same name.")] = False,
    resume: Resume = True,
    dtype: DType = None,
    load_in_4bit: In4Bit = False,
    seed: Seed = 0,
    run: RunDir = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Let a router learn from examples of the experts' tasks, and keep it in the library: `eval --router NAME` uses it.

    With the name of a bank of Poly or MHR, its table takes up new tasks (--task) and its experts stay as they are.
    """
    begin(data, as_json)
    import inspect

    import yosegi.tasks
    from yosegi import registry
    from yosegi.bases import load
    from yosegi.core.mix import named
    from yosegi.engine.kept import arms, load_arm, save_arm
    from yosegi.library.card import check_name
    from yosegi.library.store import Library
    from yosegi.run import Run
    from yosegi.training.build import take_up
    from yosegi.training.routers import learner
    from yosegi.training.routers import train_router as teach
    from yosegi.training.settings import RouterSettings, Settings

    known = {"steps": steps, "learning_rate": learning_rate, "batch_size": batch_size, "limit": limit}
    known = {key: value for key, value in known.items() if value is not None} | {"max_length": max_length, "seed": seed}
    how, bank = check(RouterSettings, known), _is_bank(library, router)
    given = {"top_k": top_k, "temperature": temperature, "encoder": encoder, "constraint": constraint}
    args: dict[str, Any] = {argument: value for argument, value in given.items() if value is not None}
    if bank:
        useless = [*args, *(["expert"] if expert else []), *(["mix"] if mix != "outputs" else [])]
        useless += [] if resume else ["no_resume"]
        if useless:
            flag = useless[0].replace("_", "-")
            raise Invalid(f"{router} is a bank, which takes up tasks as it is: --{flag} says nothing to it.")
        if not task:
            raise Invalid(f"{router} is a bank: name the new tasks that it is to take up (--task).")
        make, name = None, check_name(name or f"{router}-new")
    else:
        make, name, _ = (
            learner(router, args),
            check_name(name or f"{router.rpartition(':')[2]}-router".lower()),
            named(mix),
        )
    if name != router and name in registry.names("routers"):
        raise Invalid(f"A router cannot be called {name!r}: `eval` means another one by it.")
    if name in arms(Library(library)) and not overwrite:
        raise Invalid(f"{library} has an arm called {name!r} already: --overwrite replaces it, --name avoids it.")
    asked = expert or Library(library).originals()
    if not asked:
        raise Invalid(f"{library} has no experts yet.")
    own = sorted({t for one in asked for t in Library(library).card(one).get("task") or []})
    loaded = [yosegi.tasks.load(t) for t in dict.fromkeys(task or own)]
    if make and "tasks" in inspect.signature(make).parameters and {t.name for t in loaded} - set(own):
        args["tasks"] = [t.name for t in loaded]
    model = load(base, dtype or "fp32", load_in_4bit)
    folder = Library(library, model.hash, model.name)
    examples = {t.name: t.examples("train") for t in loaded}
    config = {"base": base, "library": str(library), "router": router, "args": args, "name": name, **how.model_dump()}
    where = Run(run or Path("runs") / f"train-router-{library.name}", {"command": "train-router", **config})
    if bank:
        sizes = {"max_steps": how.steps or 100, "per_device_train_batch_size": how.batch_size or 16, "limit": limit}
        settings = Settings(**sizes, max_length=max_length, seed=seed, dropout=0)
        old = load_arm(folder, router)
        arm = take_up(model, old, examples, where, settings, router_learning_rate=learning_rate or 0.1, name=name)
        words = f"{name}: {router} has taken up {len(examples)} tasks"
    else:
        options = {"mix": mix, "granularity": granularity, "name": name, "resume": resume}
        arm = teach(model, folder.load(asked), router, args, examples, where, how, **options)
        words = f"{name}: trained for {len(asked)} experts on {len(examples)} tasks"
    if first_process():
        save_arm(folder, arm, overwrite=overwrite)
    size = sum(value.numel() for value in arm.router_state.values())
    row = {"name": name, "router": router, "experts": asked, "tasks": list(examples), "trainable_params": size}
    row |= {key: value for key, value in arm.training.items() if key == "moved"}
    words += f", {size:,} trainable parameters, in {library}"
    words += f"; on average they moved by {row['moved']:.3g}" if "moved" in row else ""
    say(row, as_json, f"{words}\nUse it: yosegi eval --library {library} --router {name} --task …")


def _is_bank(library: Path, router: str) -> bool:
    """Whether it is a router of this library that learnt with its experts."""
    from yosegi import registry
    from yosegi.engine.kept import arms, read_arm
    from yosegi.library.store import Library

    shelf = Library(library)
    return router in arms(shelf) and registry.find("routers", read_arm(shelf, router)["router"]).learns == "jointly"
