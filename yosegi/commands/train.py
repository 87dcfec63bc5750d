"""`yosegi train`: experts into a library, one or a fleet, built one of seven ways."""

import contextlib
import sys
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
    Tasks,
    begin,
    check,
    first_process,
    read_config,
    say,
)
from yosegi.errors import Invalid, UnknownName

METHODS = {"lora": "kaiming", "pissa": "pissa", "olora": "olora"}
WHOLE = ("galore", "apollo", "full")
METHOD = f"""{", ".join(METHODS)}: the start of the factors. galore, apollo, full: whole weights are trained, and their change is
cut to --rank (64; 0 cuts nothing)."""
BUILD = """private: an expert a task. shared: one for all. mbc: one a cluster of tasks whose experts are alike. random: clusters
by lot. poly, mhr: experts that all tasks share, and their router. loramoe: the same, token by token, balanced by type."""
TYPE = """For loramoe, of what type examples are, the first that holds: "easy: level <= 2" by a field of theirs,
"knowledge: task == niilc" by task, "hard" for the rest. May be repeated; without it each task is a type."""
OBJECTIVES = ("sft", "lm")
WAYS = ("private", "shared", "mbc", "random", "poly", "mhr", "loramoe")


def train(
    task: Tasks,
    base: BaseName = "nano",
    library: LibraryDir = Path("library"),
    method: Annotated[str | None, typer.Option(help=METHOD)] = None,
    name: Annotated[str | None, typer.Option(help="Of the expert; by default the task's.")] = None,
    build: Annotated[str, typer.Option(help=BUILD)] = "private",
    clusters: Annotated[int, typer.Option(help="How many, for mbc and random.", min=1)] = 10,
    experts: Annotated[
        int | None, typer.Option(help="How many all tasks share, for poly and mhr (8) and loramoe (6).", min=2)
    ] = None,
    heads: Annotated[int, typer.Option(help="Slices of a layer that mhr mixes on their own.", min=1)] = 4,
    objective: Annotated[
        str | None, typer.Option(help="sft (the answer is learnt) or lm (the whole text is: continued pre-training).")
    ] = None,
    pack: Annotated[
        int | None, typer.Option(help="Whole documents end to end in rows of so many tokens, instead of a row each.")
    ] = None,
    validate: Annotated[
        list[str] | None,
        typer.Option(help="A task on whose validation split the loss is measured while training. May be repeated."),
    ] = None,
    validate_every: Annotated[int, typer.Option(help="Steps from one such measurement to the next.", min=1)] = 50,
    type_: Annotated[list[str] | None, typer.Option("--type", help=TYPE)] = None,
    shares: Annotated[
        str | None, typer.Option(help="How often loramoe reads each type or task: easy=1,hard=2.")
    ] = None,
    curriculum: Annotated[
        str | None, typer.Option(help="For loramoe, types or tasks from easy to hard: a,b,c.")
    ] = None,
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
    dtype: DType = None,
    load_in_4bit: In4Bit = False,
    save_steps: Annotated[int | None, typer.Option(help="A checkpoint every so many steps (100).")] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of data order and dropout; the start has --init-seed in --config.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="An argument of galore or apollo, as NAME=VALUE: update_gap=50.")
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
    from yosegi.training.settings import ApolloSettings, DenseSettings, GaloreSettings, Settings

    if method is not None and method not in (*METHODS, *WHOLE):
        raise UnknownName.among("method", method, (*METHODS, *WHOLE))
    kind = {"galore": GaloreSettings, "apollo": ApolloSettings, "full": DenseSettings}.get(method or "", Settings)
    said = {
        "init": METHODS.get(method or ""),
        "objective": objective,
        "pack": pack,
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
        "dtype": dtype,
        "load_in_4bit": load_in_4bit or None,
        "save_steps": save_steps,
        "seed": seed,
    }
    if build == "loramoe":
        from yosegi.commands._loramoe import read_curriculum, read_shares
        from yosegi.training.loramoe import LoraMoeSettings

        kind = LoraMoeSettings
        said |= {"objective": None, "shares": read_shares(shares), "curriculum": read_curriculum(curriculum)}
        if objective or pack:
            raise Invalid("--objective and --pack do not go with --build loramoe: it learns answers, each of a type.")
    elif type_ or shares or curriculum:
        raise Invalid("--type, --shares and --curriculum go with --build loramoe.")
    fields = read_config(config, said)
    if set_:
        if method not in WHOLE:
            raise Invalid(f"--set goes with --method {' or '.join(WHOLE)}.")
        fields["optimizer_args"] = {**(fields.get("optimizer_args") or {}), **_pairs(set_)}
    settings = check(kind, fields)
    if method in WHOLE and build not in ("private", "shared"):
        raise Invalid(f"--method {method} trains expert by expert: --build private or shared, not {build}.")
    if name in ("", "base", "all"):
        raise Invalid(f"An expert cannot be called {name!r}: `eval` means something else by it.")
    if build not in WAYS:
        raise UnknownName.among("way to build a library", build, WAYS)
    if build != "loramoe" and settings.objective not in OBJECTIVES:
        raise UnknownName.among("objective to train experts with", settings.objective, OBJECTIVES)
    if validate and build in ("poly", "mhr", "loramoe"):
        raise Invalid(f"--validate does not go with --build {build}: its router knows only the tasks it learns from.")
    if name and build not in ("shared", "poly", "mhr", "loramoe") and len(task) > 1:
        raise Invalid("--name goes with one task, or with --build shared, poly, mhr or loramoe.")

    import yosegi.tasks
    from yosegi.library.card import check_name
    from yosegi.library.store import Library
    from yosegi.run import Run
    from yosegi.training.validation import Validation

    loaded = {t.name: t for t in map(yosegi.tasks.load, dict.fromkeys(task))}
    names = {t.name: name if name and build == "private" else short(t.name) for t in loaded.values()}
    if len(set(names.values())) < len(loaded):
        raise Invalid("Two of these tasks would give experts of one name: train them one by one, with --name.")
    joined = "+".join(names.values())
    names["shared"] = name or (joined if len(joined.encode()) <= 100 else "shared")
    for wanted in (names["shared"], name or build, *names.values()):
        check_name(wanted)  # now, and not after the training
    reads = "examples" if settings.pack is None else "documents"
    data_of = {t.name: getattr(t, reads)("train") for t in loaded.values()}
    held_out = {t.name: getattr(t, reads)("validation") for t in map(yosegi.tasks.load, validate or ())}
    validation = Validation(held_out, validate_every)
    for one in loaded.values():
        if first_process() and (said_of := one.note("train")):
            print(f"{one.name}: {said_of}", file=sys.stderr)
    from yosegi.bases import load

    beside = load(base, settings.dtype, settings.load_in_4bit)
    shelf = Library(library, beside.hash, beside.name)
    types = None
    if build == "loramoe":
        from yosegi.commands._loramoe import read_types

        check_bank(shelf, name or build, experts or 6, overwrite)
        types = read_types(data_of, type_ or [], names, settings)
    where = Run(
        run or Path("runs") / f"train-{library.name}",
        {"command": "train", "base": base, "build": build, "validate": list(held_out), **settings.model_dump()},
    )
    if build in ("poly", "mhr"):
        made = _bank(
            beside, shelf, build, data_of, where, settings, experts or 8, heads, name or build, overwrite, fresh
        )
    elif types is not None:
        from yosegi.commands._loramoe import train_loramoe

        made = train_loramoe(
            beside, shelf, data_of, types, where, settings, experts or 6, name or build, overwrite, fresh
        )
    elif method in WHOLE:
        made = _whole(beside, shelf, names, data_of, build == "shared", where, settings, overwrite, fresh, validation)
    elif len(loaded) == 1 and build in ("private", "shared"):
        own = names["shared"] if build == "shared" else names[next(iter(data_of))]
        made = _one(beside, shelf, own, data_of, where, settings, overwrite, fresh, validation)
    else:
        from yosegi.training.build import build as build_library

        found = build_library(
            beside, shelf, build, data_of, where, settings,
            names=names, clusters=clusters, overwrite=overwrite, resume=not fresh, validation=validation,
        )  # fmt: skip
        made = list(found.groups)
    if first_process():
        cards = {expert: shelf.card(expert) for expert in made}
        done = [{"name": n, "task": c["task"], "rank": c["rank"], **c["metrics"]} for n, c in cards.items()]
        if not as_json:
            for row in done:
                learnt = f", {len(row['task'])} tasks" if len(row["task"]) > 1 else ""
                if "documents" in row:
                    learnt += (
                        f", {row['documents']:,} documents ({row['characters']:,} characters) in {row['rows']:,} rows"
                    )
                kept = f", {row['energy_kept']:.1%} of the change" if "energy_kept" in row else ""
                steps = row.get("steps")
                learnt += f", {steps} step{'s' * (steps != 1)}{_losses(where, row['name'])}"
                print(f"{row['name']}: rank {row['rank']}{kept}{learnt}")
            print(f"{len(done)} expert{'s' if len(done) > 1 else ''} in {library}, {done[0].get('wall_s', 0):.0f} s")
        say(done, as_json, f"See them: yosegi library ls {library}")


def _losses(run: Any, expert: str) -> str:
    """From where to where the loss went; nothing where this run has not trained it."""
    from yosegi.files import read_jsonl

    path = run.path / "metrics.jsonl"
    rows = [row for row in read_jsonl(path) if row.get("expert") == expert and "loss" in row] if path.exists() else []
    # Of several trainings under one name the last.
    rows = rows[max((n for n, row in enumerate(rows) if row.get("step") == 1), default=0) :]
    last = rows[-max(1, len(rows) // 10) :]
    return f", loss {rows[0]['loss']:.3g} to {sum(row['loss'] for row in last) / len(last):.3g}" if rows else ""


def _one(
    beside: Any, shelf: Any, name: str, data: dict[str, Any], where: Any, settings: Any, overwrite: bool, fresh: bool,
    validation: Any,
) -> list[str]:  # fmt: skip
    """A single expert: on several processes they share its batches."""
    from yosegi.training.settings import DenseSettings
    from yosegi.training.sft import forget, train

    if isinstance(settings, DenseSettings):
        from yosegi.training.dense import train

    examples = [example for rows in data.values() for example in rows]
    if _there(beside, shelf, name, list(data), examples, settings, overwrite):
        return [name]
    expert = train(beside, examples, name, where, settings, task=list(data), resume=not fresh, validation=validation)
    if first_process():
        shelf.add(expert, overwrite=overwrite)
        forget(where, name)
    return [name]


def _there(
    beside: Any, shelf: Any, name: str, tasks: list[str], examples: list[Any], settings: Any, overwrite: bool
) -> bool:
    """Whether the same call has put this expert there before; one of its name that is another, or that learnt other texts under
    the same name of a task, is refused."""
    from yosegi.engine.rows import data_hash
    from yosegi.training.reading import read

    if overwrite or not shelf.path.is_dir() or name not in shelf:
        return False
    card, known = shelf.card(name), f"{shelf.path} has another expert called {name!r}"
    if card["recipe"] != settings.model_dump() or card["task"] != tasks:
        raise Invalid(f"{known}: --overwrite replaces it, --name avoids it.")
    if card["data_hash"] != data_hash(read(beside, examples, settings).rows):
        raise Invalid(
            f"{known}, which learnt other examples of {', '.join(tasks)}: --overwrite replaces it, --name avoids it."
        )
    return True


def _whole(
    beside: Any,
    shelf: Any,
    names: dict[str, str],
    data: dict[str, Any],
    together: bool,
    where: Any,
    settings: Any,
    overwrite: bool,
    fresh: bool,
    validation: Any,
) -> list[str]:
    """Whole weights: no two experts can be trained in one pass, so each has its turn."""
    groups = {names["shared"]: data} if together else {names[task]: {task: rows} for task, rows in data.items()}
    if together and len(data) > 1:  # the limit is each task's
        groups = {names["shared"]: {task: rows[: settings.limit] for task, rows in data.items()}}
        settings = settings.model_copy(update={"limit": None})
    for name, some in groups.items():
        examples = [example for rows in some.values() for example in rows]
        _there(beside, shelf, name, list(some), examples, settings, overwrite)  # refused before the others are trained
    for name, some in groups.items():
        _one(beside, shelf, name, some, where, settings, overwrite, fresh, validation)
    return list(groups)


def _pairs(words: list[str]) -> dict[str, Any]:
    """NAME=VALUE, the value read as YAML reads it."""
    import yaml

    found: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name or not value or name in found:
            raise Invalid(f"--set takes NAME=VALUE, such as update_gap=50, each name once; {word!r} was given.")
        try:
            listed = "," in value and not value.lstrip().startswith(("[", "{"))
            read = yaml.safe_load(f"[{value}]" if listed else value)
        except yaml.YAMLError as error:
            raise Invalid(f"--set {name}: {value!r} is no value.") from error
        found[name] = [_number(part) for part in read] if isinstance(read, list) else _number(read)
    return found


def _number(value: Any) -> Any:
    """YAML takes 1e-6 for a word."""
    with contextlib.suppress(TypeError, ValueError):
        return float(value) if isinstance(value, str) else value
    return value


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
    from yosegi.engine.arm import Arm
    from yosegi.engine.kept import save_arm
    from yosegi.training.build import build_bank

    check_bank(shelf, name, experts, overwrite)
    made, learnt = build_bank(
        beside, build, data, where, settings, experts=experts, heads=heads, name=name, resume=not fresh
    )
    heads = heads if build == "mhr" else 1
    arm = Arm(name, made, "task_table", {"heads": heads}, learnt, "factors", heads, tasks=tuple(data))
    if first_process():
        for expert in made:
            shelf.add(expert, overwrite=True)  # of these names is only what a killed call of this bank has left
        save_arm(shelf, arm, overwrite=overwrite)
    return [expert.name for expert in made]


def check_bank(shelf: Any, name: str, experts: int, overwrite: bool) -> None:
    """Whether a bank of that name may come into the library; what a killed call of the same has left there is no hindrance."""
    from yosegi import registry
    from yosegi.engine.kept import arms

    if shelf.path.is_dir() and name in arms(shelf) and not overwrite:
        raise Invalid(f"{shelf.path} has an arm called {name!r}: --overwrite replaces it, --name avoids it.")
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


def short(task: str) -> str:
    """What an expert of a task is called: the last part, without folders and endings."""
    part = task.rstrip("/").rpartition("/")[2]
    return part.removesuffix(".jsonl").removesuffix(".txt") or task
