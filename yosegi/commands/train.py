"""`yosegi train`: one expert a task, into a library."""

from pathlib import Path
from typing import Annotated, Any

import typer

from yosegi.commands._options import BaseName, Data, Json, LibraryDir, RunDir, Tasks, begin, check, read_config, say
from yosegi.errors import Invalid

METHODS = {"lora": "kaiming", "pissa": "pissa", "olora": "olora"}


def train(
    task: Tasks,
    base: BaseName = "nano",
    library: LibraryDir = Path("library"),
    method: Annotated[str | None, typer.Option(help=f"{', '.join(METHODS)}: the start of the factors.")] = None,
    name: Annotated[str | None, typer.Option(help="Of the expert; by default the task's.")] = None,
    together: Annotated[bool, typer.Option("--together", help="One expert on all tasks instead of one each.")] = False,
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
    precision: Annotated[str | None, typer.Option(help="auto, fp32, bf16.")] = None,
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
    """Train one expert a task. Killed or interrupted, the same command goes on where it was."""
    begin(data, as_json)
    from yosegi.train.settings import Settings

    if method is not None and method not in METHODS:
        from yosegi.errors import UnknownName

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
        "save_steps": save_steps,
        "seed": seed,
    }
    settings = check(Settings, read_config(config, said))
    if name in ("", "base", "all"):
        raise Invalid(f"An expert cannot be called {name!r}: `eval` means something else by it.")
    if name and len(task) > 1 and not together:
        raise Invalid("--name goes with one task, or with --together.")

    import yosegi.tasks
    from yosegi.library.store import Library
    from yosegi.run import Run
    from yosegi.train.sft import forget
    from yosegi.train.sft import train as train_one

    loaded = [yosegi.tasks.load(t) for t in dict.fromkeys(task)]
    groups: dict[str, list[Any]] = {}
    for t in loaded:
        groups.setdefault((name or "+".join(map(short, task))) if together else name or short(t.name), []).append(t)
    if len(groups) < (1 if together else len(loaded)):
        raise Invalid("Two of these tasks would give experts of one name: train them one by one, with --name.")

    from yosegi.bases import load

    beside = load(base)
    shelf = Library(library, beside.hash, beside.name)
    where = Run(
        run or Path("runs") / f"train-{library.name}", {"command": "train", "base": base, **settings.model_dump()}
    )
    done = []
    for expert_name, its_tasks in groups.items():
        examples = [e for t in its_tasks for e in t.examples("train")]
        if expert_name in shelf and not overwrite:
            card = shelf.card(expert_name)
            if card["recipe"] != settings.model_dump() or card["task"] != [t.name for t in its_tasks]:
                raise Invalid(
                    f"{library} has another expert called {expert_name!r}: --overwrite replaces it, --name avoids it."
                )
        else:
            expert = train_one(
                beside, examples, expert_name, where, settings, task=[t.name for t in its_tasks], resume=not fresh
            )
            if _first_process():
                shelf.add(expert, overwrite=overwrite)
                forget(where, expert_name)
        if _first_process():
            card = shelf.card(expert_name)
            done.append({"name": expert_name, "task": card["task"], "rank": card["rank"], **card["metrics"]})
            if not as_json:
                wall = card["metrics"].get("wall_s", 0)
                print(
                    f"{expert_name}: rank {card['rank']}, {card['metrics'].get('steps')} steps, {wall:.0f} s, in {library}"
                )
    if _first_process():
        say(done, as_json, f"See them: yosegi library ls {library}")


def short(task: str) -> str:
    """What an expert of a task is called: the last part, without folders and endings."""
    part = task.rstrip("/").rpartition("/")[2]
    return part.removesuffix(".jsonl").removesuffix(".txt") or task


def _first_process() -> bool:
    import os

    return os.environ.get("RANK", "0") == "0"
