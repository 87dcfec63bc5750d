"""`yosegi eval`: arms x tasks -> a leaderboard."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from yosegi.commands._options import BaseName, Data, HeldIn, Json, RunDir, Seed, Tasks, begin, say
from yosegi.errors import Invalid


def eval_(
    task: Tasks,
    base: BaseName = "nano",
    library: Annotated[Path | None, typer.Option("--library", help="The experts; without it the base alone.")] = None,
    expert: Annotated[list[str] | None, typer.Option(help="One expert alone; 'all' for each in turn.")] = None,
    router: Annotated[
        list[str] | None, typer.Option(help="All experts under a router, or one that `fit` made.")
    ] = None,
    merge: Annotated[list[str] | None, typer.Option(help="All experts merged into one. May be repeated.")] = None,
    mix: Annotated[str | None, typer.Option(help="outputs (the default) or factors, for routers.")] = None,
    top_k: Annotated[int | None, typer.Option(help="For routers that choose.")] = None,
    temperature: Annotated[float | None, typer.Option(help="For routers that have one.")] = None,
    rank: Annotated[int | None, typer.Option(help="Of the merged expert, for merges that cut.")] = None,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    limit: Annotated[int | None, typer.Option(help="At most so many examples a task.", min=1)] = None,
    batch_size: Annotated[int, typer.Option(help="Sequences at a time.", min=1)] = 64,
    load_in: HeldIn = None,
    seed: Seed = 0,
    run: RunDir = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Compare the base, single experts, routers and merges on tasks, item by item. Interrupted, it goes on."""
    begin(data, as_json)
    from dataclasses import replace

    from yosegi import registry
    from yosegi.core.mix import named
    from yosegi.errors import UnknownName

    if (expert or router or merge) and library is None:
        raise Invalid("--expert, --router and --merge need --library, the folder of the experts.")
    for name in merge or []:
        if ":" not in name and name not in registry.names("merges"):
            raise UnknownName.among("merge", name, registry.names("merges"))
    kept = _kept(library, router) if library is not None and router else []
    if "by_request" in (router or []):
        raise Invalid("by_request hears the expert that each request names; to evaluate one expert use --expert NAME.")
    named(mix or "outputs")
    if split not in ("train", "validation", "test"):
        raise UnknownName.among("split", split, ("train", "validation", "test"))

    import yosegi.tasks
    from yosegi.bases import load
    from yosegi.evaluate.arm import Arm
    from yosegi.evaluate.measure import evaluate
    from yosegi.library.origin import check_origin
    from yosegi.library.routers import load_router
    from yosegi.library.store import Library
    from yosegi.report.terminal import leaderboard
    from yosegi.run import Run

    tasks = [yosegi.tasks.load(t) for t in dict.fromkeys(task)]
    beside = load(base, load_in or "fp32")
    experts, shelf = [], Library(library or "", beside.hash, beside.name)
    if library is not None:
        experts = shelf.load(None if router or merge or "all" in (expert or []) else expert)
        for name in expert or []:
            if name != "all":
                shelf.card(name)  # says what is near if there is none
    by_name = {e.name: e for e in experts}
    arms = [Arm("base")]
    for name in by_name if "all" in (expert or []) else expert or []:
        arms.append(Arm(name, [by_name[name]]))
    for name in router or []:
        called = name if mix in (None, "outputs") else f"{name}_{mix}"
        if name in kept:
            it = load_router(shelf, name)
            args = {**it.args, **_arguments(it.router, top_k, temperature)}
            heard = it.experts
            if (
                registry.find("routers", it.router).learns == "jointly"
            ):  # its table may be about other tasks than its experts
                heard = [replace(e, card={**e.card, "task": list(it.tasks)}) for e in it.experts]
            arms.append(Arm(called, heard, it.router, args, it.learnt, mix or it.mix, it.heads))
            if len(it.experts) < len(by_name):
                print(
                    f"{name} routes the {len(it.experts)} experts it learnt beside, not all {len(by_name)}.",
                    file=sys.stderr,
                )
        else:
            if mix == "factors":
                check_origin(experts, "mixed", "--mix outputs")
            args = _arguments(name, top_k, temperature)
            arms.append(Arm(called, experts, name, args, mix=mix or "outputs"))
    for name in merge or []:
        arms.append(Arm(f"{name} merge", experts, merge=name, merge_args={"rank": rank} if rank else {}))
    where = Run(
        run or Path("runs") / "-".join(filter(None, ["eval", library.name if library else base, load_in])),
        {"command": "eval", "base": base, "load_in": beside.load_in, "library": library and str(library),
         "tasks": [t.name for t in tasks],
         "arms": [arm.name for arm in arms], "split": split, "limit": limit, "seed": seed},
    )  # fmt: skip
    rows = evaluate(beside, arms, tasks, where, split=split, limit=limit, seed=seed, batch_size=batch_size)
    if as_json:
        say(rows, True)
    else:
        leaderboard(rows)
        print(f"\nItems and rows: {where.path}   A page of it: yosegi report {where.path}")


def _arguments(router: str, top_k: int | None, temperature: float | None) -> dict[str, Any]:
    import inspect

    from yosegi import registry

    takes = inspect.signature(registry.find("routers", router)).parameters
    given = {"top_k": top_k, "temperature": temperature}
    return {name: value for name, value in given.items() if value is not None and name in takes}


def _kept(library: Path, asked: list[str]) -> list[str]:
    """The routers that the library keeps; one of `asked` that is not there and cannot do without learning is refused."""
    from yosegi import registry
    from yosegi.errors import UnknownName
    from yosegi.library.routers import routers
    from yosegi.library.store import Library

    kept, known = routers(Library(library)), registry.names("routers")
    for name in (name for name in asked if name not in kept):
        if ":" not in name and name not in known:
            raise UnknownName.among("router", name, [*known, *kept])
        if how := registry.find("routers", name).learns:
            teach = f"yosegi fit --library {library} --router {name}"
            teach = "it learns together with its experts." if how == "jointly" else teach
            raise Invalid(f"{library} keeps no router {name} that has learnt: {teach}")
    return kept
