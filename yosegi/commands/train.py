"""`yosegi train`: experts into a library, one or a fleet, built one of six ways."""

from pathlib import Path
from typing import Annotated, Any

import typer

from yosegi.commands._options import (
    BaseName,
    Data,
    HeldIn,
    Json,
    LibraryDir,
    RunDir,
    Tasks,
    begin,
    check,
    first_process,
    read_config,
    say,
)
from yosegi.errors import Invalid, UnknownName

METHODS = {"lora": "kaiming", "pissa": "pissa", "olora": "olora"}
BUILD = """private: an expert a task. shared: one for all. mbc: one a cluster of tasks whose experts are alike. random: clusters
by lot. poly, mhr: experts that all tasks share, and their router."""
WAYS = ("private", "shared", "mbc", "random", "poly", "mhr")


def train(
    task: Tasks,
    base: BaseName = "nano",
    library: LibraryDir = Path("library"),
    method: Annotated[str | None, typer.Option(help=f"{', '.join(METHODS)}: the start of the factors.")] = None,
    name: Annotated[str | None, typer.Option(help="Of the expert; by default the task's.")] = None,
    build: Annotated[str, typer.Option(help=BUILD)] = "private",
    clusters: Annotated[int, typer.Option(help="How many, for mbc and random.", min=1)] = 10,
    experts: Annotated[int, typer.Option(help="How many all tasks share, for poly and mhr.", min=2)] = 8,
    heads: Annotated[int, typer.Option(help="Slices of a layer that mhr mixes on their own.", min=1)] = 4,
    rank: Annotated[int | None, typer.Option(help="Inner width (8).")] = None,
    alpha: Annotated[float | None, typer.Option(help="The delta is scaled by alpha / rank (16).")] = None,
    targets: Annotated[str | None, typer.Option(help="all-linear, a regular expression, or names with commas.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="(2e-4)")] = None,
    max_steps: Annotated[int | None, typer.Option(help="Optimiser steps, instead of epochs.")] = None,
    num_train_epochs: Annotated[float | None, typer.Option(help="Passes over the data (3).")] = None,
    per_device_train_batch_size: Annotated[int | None, typer.Option(help="(16)")] = None,
    gradient_accumulation_steps: Annotated[int | None, typer.Option(help="(1)")] = None,
    max_length: Annotated[int | None, typer.Option(help="Longest sequence, in tokens (1024).")] = None,
    limit: Annotated[int | None, typer.Option(help="At most so many training examples.")] = None,
    precision: Annotated[str | None, typer.Option(help="auto, fp32, bf16: what is computed in.")] = None,
    load_in: HeldIn = None,
    save_steps: Annotated[int | None, typer.Option(help="A checkpoint every so many steps (100).")] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of data order and dropout; the start has --init-seed in --config.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="A YAML file with these and all other settings.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an expert of the same name.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start anew where a checkpoint lies.")] = False,
    run: RunDir = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Train experts into a library, all in one pass over the base. Killed, the same command goes on where it was."""
    begin(data, as_json)
    from yosegi.train.settings import Settings

    if method is not None and method not in METHODS:
        raise UnknownName.among("method", method, METHODS)
    said = {
        "init": METHODS[method] if method else None,
        "rank": rank,
        "alpha": alpha,
        "targets": targets.split(",") if targets and "," in targets else targets,
        "learning_rate": learning_rate,
        "max_steps": max_steps,
        "num_train_epochs": num_train_epochs,
        "per_device_train_batch_size": per_device_train_batch_size,
        "gradient_accumulation_steps": gradient_accumulation_steps,
        "max_length": max_length,
        "limit": limit,
        "precision": precision,
        "load_in": load_in,
        "save_steps": save_steps,
        "seed": seed,
    }
    settings = check(Settings, read_config(config, said))
    if name in ("", "base", "all"):
        raise Invalid(f"An expert cannot be called {name!r}: `eval` means something else by it.")
    if build not in WAYS:
        raise UnknownName.among("way to build a library", build, WAYS)
    if name and build not in ("shared", "poly", "mhr") and len(task) > 1:
        raise Invalid("--name goes with one task, or with --build shared, poly or mhr.")

    import yosegi.tasks
    from yosegi.library.card import check_name
    from yosegi.library.store import Library
    from yosegi.run import Run

    loaded = {t.name: t for t in map(yosegi.tasks.load, dict.fromkeys(task))}
    names = {t.name: name if name and build == "private" else short(t.name) for t in loaded.values()}
    if len(set(names.values())) < len(loaded):
        raise Invalid("Two of these tasks would give experts of one name: train them one by one, with --name.")
    joined = "+".join(names.values())
    names["shared"] = name or (joined if len(joined.encode()) <= 100 else "shared")
    for wanted in (names["shared"], name or build, *names.values()):
        check_name(wanted)  # now, and not after the training
    from yosegi.bases import load

    beside = load(base, settings.load_in)
    shelf = Library(library, beside.hash, beside.name)
    where = Run(
        run or Path("runs") / f"train-{library.name}",
        {"command": "train", "base": base, "build": build, **settings.model_dump()},
    )
    data_of = {t.name: t.examples("train") for t in loaded.values()}
    if build in ("poly", "mhr"):
        made = _bank(beside, shelf, build, data_of, where, settings, experts, heads, name or build, overwrite, fresh)
    elif len(loaded) == 1 and build in ("private", "shared"):
        own = names["shared"] if build == "shared" else names[next(iter(data_of))]
        made = _one(beside, shelf, own, data_of, where, settings, overwrite, fresh)
    else:
        from yosegi.train.build import build as build_library

        found = build_library(
            beside, shelf, build, data_of, where, settings,
            names=names, clusters=clusters, overwrite=overwrite, resume=not fresh,
        )  # fmt: skip
        made = list(found.groups)
    if first_process():
        cards = {expert: shelf.card(expert) for expert in made}
        done = [{"name": n, "task": c["task"], "rank": c["rank"], **c["metrics"]} for n, c in cards.items()]
        if not as_json:
            for row in done:
                learnt = f", {len(row['task'])} tasks" if len(row["task"]) > 1 else ""
                print(f"{row['name']}: rank {row['rank']}{learnt}, {row.get('steps')} steps")
            print(f"{len(done)} expert{'s' if len(done) > 1 else ''} in {library}, {done[0].get('wall_s', 0):.0f} s")
        say(done, as_json, f"See them: yosegi library ls {library}")


def _one(
    beside: Any, shelf: Any, name: str, data: dict[str, Any], where: Any, settings: Any, overwrite: bool, fresh: bool
) -> list[str]:
    """A single expert: on several processes they share its batches."""
    from yosegi.train.sft import forget, train

    (task, examples), *_ = data.items()
    if shelf.path.is_dir() and name in shelf and not overwrite:
        card = shelf.card(name)
        if card["recipe"] != settings.model_dump() or card["task"] != [task]:
            raise Invalid(
                f"{shelf.path} has another expert called {name!r}: --overwrite replaces it, --name avoids it."
            )
        return [name]
    expert = train(beside, examples, name, where, settings, task=[task], resume=not fresh)
    if first_process():
        shelf.add(expert, overwrite=overwrite)
        forget(where, name)
    return [name]


def _bank(
    beside: Any,
    shelf: Any,
    build: str,
    data: dict[str, Any],
    where: Any,
    settings: Any,
    experts: int,
    heads: int,
    name: str,
    overwrite: bool,
    fresh: bool,
) -> list[str]:
    """Poly or MHR: the experts and the router they learnt with."""
    from yosegi import registry
    from yosegi.library.routers import TrainedRouter, routers, save_router
    from yosegi.train.build import build_bank

    if shelf.path.is_dir() and name in routers(shelf) and not overwrite:
        raise Invalid(f"{shelf.path} has a router called {name!r}: --overwrite replaces it, --name avoids it.")
    if name in registry.names("routers"):
        raise Invalid(f"A bank cannot be called {name!r}: `eval` means another router by it.")
    theirs = [f"{name}-{e}" for e in range(experts)]
    taken = [
        n
        for n in theirs
        if shelf.path.is_dir() and n in shelf and (shelf.card(n).get("recipe") or {}).get("bank") != name
    ]
    if taken and not overwrite:
        raise Invalid(
            f"{shelf.path} has another expert called {taken[0]!r}: --overwrite replaces it, --name avoids it."
        )
    made, learnt = build_bank(
        beside, build, data, where, settings, experts=experts, heads=heads, name=name, resume=not fresh
    )
    heads = heads if build == "mhr" else 1
    table = TrainedRouter(name, "task_table", {"heads": heads}, made, learnt, "factors", heads, tuple(data))
    if first_process():
        for expert in made:
            shelf.add(expert, overwrite=True)  # of these names is only what a killed call of this bank has left
        save_router(shelf, table, overwrite=overwrite)
    return [expert.name for expert in made]


def short(task: str) -> str:
    """What an expert of a task is called: the last part, without folders and endings."""
    part = task.rstrip("/").rpartition("/")[2]
    return part.removesuffix(".jsonl").removesuffix(".txt") or task
