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
    RunDir,
    Seed,
    begin,
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
    fresh: Annotated[bool, typer.Option("--fresh", help="Start anew where a checkpoint lies.")] = False,
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
    from dataclasses import replace

    from yosegi import registry
    from yosegi.core.mix import named
    from yosegi.engine.arm import Arm
    from yosegi.engine.kept import arms, save_arm
    from yosegi.library.card import check_name
    from yosegi.library.store import Library
    from yosegi.training.routers import fit as teach
    from yosegi.training.routers import learner

    if _is_bank(library, router):
        given = {
            "expert": expert,
            "top_k": top_k,
            "temperature": temperature,
            "encoder": encoder,
            "fresh": fresh or None,
        }
        given |= {"mix": None if mix == "outputs" else mix}
        if useless := [flag for flag, value in given.items() if value is not None]:
            raise Invalid(
                f"{router} is a bank, which takes up tasks as it is: --{useless[0].replace('_', '-')} says nothing to it."
            )
        said = _take_up(
            library,
            router,
            base,
            dtype,
            load_in_4bit,
            task or [],
            name,
            steps,
            learning_rate,
            batch_size,
            limit,
            max_length,
            overwrite,
            seed,
            run,
        )
        words = f"{said['name']}: {router} has taken up {len(said['tasks'])} tasks, {said['numbers']:,} numbers, in {library}"
        say(said, as_json, f"{words}\nUse it: yosegi eval --library {library} --router {said['name']} --task …")
        return
    given = {"top_k": top_k, "temperature": temperature, "encoder": encoder, "constraint": constraint}
    args: dict[str, Any] = {argument: value for argument, value in given.items() if value is not None}
    make, name, _ = learner(router, args), check_name(name or f"{router.rpartition(':')[2]}-router".lower()), named(mix)
    if name != router and name in registry.names("routers"):
        raise Invalid(f"A router cannot be called {name!r}: `eval` means another one by it.")
    if name in arms(Library(library)) and not overwrite:
        raise Invalid(f"{library} has an arm called {name!r} already: --overwrite replaces it, --name avoids it.")
    asked = expert or Library(library).originals()
    own = sorted({t for one in asked for t in Library(library).card(one).get("task") or []})
    if not asked:
        raise Invalid(f"{library} has no experts yet.")

    import yosegi.tasks
    from yosegi.bases import load
    from yosegi.engine.rows import data_hash, tokenise
    from yosegi.run import Run
    from yosegi.training.cat import begin as begin_at
    from yosegi.training.cat import moved

    loaded = [yosegi.tasks.load(t) for t in dict.fromkeys(task or own)]
    if "tasks" in inspect.signature(make).parameters and {t.name for t in loaded} - set(own):
        args["tasks"] = [t.name for t in loaded]
    beside = load(base, dtype or "fp32", load_in_4bit)
    shelf = Library(library, beside.hash, beside.name)
    experts = shelf.load(asked)
    examples = {t.name: t.examples("train") for t in loaded}
    recipe = {"seed": seed, "steps": steps, "lr": learning_rate, "batch": batch_size, "limit": limit}
    recipe |= {"max_length": max_length, "mix": mix, "granularity": granularity}
    where = Run(
        run or Path("runs") / f"fit-{library.name}",
        {"command": "train-router", "base": base, "library": str(library), "router": router, "args": args, "name": name,
         **recipe},
    )  # fmt: skip
    learnt = teach(beside, experts, router, args, examples, where, name=name, resume=not fresh, **recipe)
    every = [example for some in examples.values() for example in some]
    hashed = data_hash(tokenise(beside, every, max_length))
    trained = Arm(name, experts, router, args, learnt, mix, tasks=tuple(examples), data_hash=hashed, training=recipe)
    if make.learns == "answers":
        start = begin_at(beside, experts, make(**args), mix)
        trained = replace(trained, training={**recipe, "moved": round(moved(start, learnt), 6)})
    if first_process():
        save_arm(shelf, trained, overwrite=overwrite)
    size = sum(value.numel() for value in learnt.values())
    said = {"name": name, "router": router, "experts": asked, "tasks": list(examples), "numbers": size}
    said |= {key: value for key, value in trained.training.items() if key == "moved"}
    words = f"{name}: learnt beside {len(asked)} experts from {len(examples)} tasks, {size:,} numbers, in {library}"
    if "moved" in said:
        words += f"; on average they moved by {said['moved']:.3g}"
    say(said, as_json, f"{words}\nUse it: yosegi eval --library {library} --router {name} --task …")


def _is_bank(library: Path, router: str) -> bool:
    """Whether it is a router of this library that learnt with its experts."""
    from yosegi import registry
    from yosegi.engine.kept import arms, read_arm
    from yosegi.library.store import Library

    shelf = Library(library)
    return router in arms(shelf) and registry.find("routers", read_arm(shelf, router)["router"]).learns == "jointly"


def _take_up(
    library: Path,
    bank: str,
    base: str,
    dtype: str | None,
    load_in_4bit: bool,
    task: list[str],
    name: str | None,
    steps: int | None,
    learning_rate: float | None,
    batch_size: int | None,
    limit: int | None,
    max_length: int,
    overwrite: bool,
    seed: int,
    run: Path | None,
) -> dict[str, Any]:
    """New tasks for the table of a bank."""
    from dataclasses import replace

    import yosegi.tasks
    from yosegi import registry
    from yosegi.bases import load
    from yosegi.engine.kept import arms, load_arm, save_arm
    from yosegi.library.card import check_name
    from yosegi.library.store import Library
    from yosegi.run import Run
    from yosegi.training.build import take_up
    from yosegi.training.settings import Settings

    if not task:
        raise Invalid(f"{bank} is a bank: name the new tasks that it is to take up (--task).")
    name = check_name(name or f"{bank}-new")
    if name in registry.names("routers"):
        raise Invalid(f"A router cannot be called {name!r}: `eval` means another one by it.")
    if name in arms(Library(library)) and not overwrite:
        raise Invalid(f"{library} has an arm called {name!r} already: --overwrite replaces it, --name avoids it.")
    beside = load(base, dtype or "fp32", load_in_4bit)
    shelf = Library(library, beside.hash, beside.name)
    trained = load_arm(shelf, bank)
    examples = {t.name: t.examples("train") for t in map(yosegi.tasks.load, dict.fromkeys(task))}
    settings = Settings(
        max_steps=steps or 100, per_device_train_batch_size=batch_size or 16, limit=limit, max_length=max_length, seed=seed,
        dropout=0,
    )  # fmt: skip
    where = Run(
        run or Path("runs") / f"fit-{library.name}",
        {"command": "train-router", "router": bank, **settings.model_dump()},
    )
    learnt = take_up(
        beside, trained.experts, trained.router_state, examples, where, settings,
        heads=trained.heads, router_learning_rate=learning_rate or 0.1, name=name,
    )  # fmt: skip
    if first_process():
        save_arm(shelf, replace(trained, name=name, router_state=learnt, tasks=tuple(examples)), overwrite=overwrite)
    size = sum(value.numel() for value in learnt.values())
    return {"name": name, "router": bank, "tasks": list(examples), "numbers": size}
