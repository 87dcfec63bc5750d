"""`yosegi reinforce`: experts go on learning by reward (GRPO), all of them in one pass."""

from pathlib import Path
from typing import Annotated, Any

import typer

from yosegi.commands._options import (
    BaseName,
    Data,
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
from yosegi.errors import Invalid

REWARD = "What an answer is worth (`yosegi ls rewards`), with its weight: correct, soft_format=0.5. May be repeated."
LABELS = "The folder of `yosegi label`: only questions of --system are asked."


def reinforce(
    task: Tasks,
    expert: Annotated[list[str], typer.Option(help="Where it begins. May be repeated; all: every one.")],
    base: BaseName = "nano",
    library: LibraryDir = Path("library"),
    reward: Annotated[list[str] | None, typer.Option(help=REWARD)] = None,
    suffix: Annotated[str, typer.Option(help="The new expert is called as the old one with this behind it.")] = "-rl",
    labels: Annotated[Path | None, typer.Option(help=LABELS)] = None,
    system: Annotated[str, typer.Option(help="Whose questions are asked, with --labels.")] = "system2",
    learning_rate: Annotated[float | None, typer.Option(help="(5e-6)")] = None,
    max_steps: Annotated[int | None, typer.Option(help="Steps, instead of one pass over the questions.")] = None,
    questions: Annotated[int | None, typer.Option(help="Asked in a step (8).")] = None,
    num_generations: Annotated[int | None, typer.Option(help="Answers to each question (8).")] = None,
    max_completion_length: Annotated[
        int | None, typer.Option(help="Tokens of an answer; by default the task's.")
    ] = None,
    kl_coef: Annotated[float | None, typer.Option(help="Weight of the distance from where it began (0.04).")] = None,
    limit: Annotated[int | None, typer.Option(help="At most so many questions.")] = None,
    save_steps: Annotated[int | None, typer.Option(help="A checkpoint every so many steps (100).")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the order of the questions and of the draws.")] = None,
    config: Annotated[Path | None, typer.Option(help="A YAML file with these and all other settings.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an expert of the same name.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start anew where a checkpoint lies.")] = False,
    run: RunDir = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Experts answer questions and learn from which of their answers were better. Killed, the same command goes on."""
    begin(data, as_json)
    import dataclasses

    from yosegi import registry
    from yosegi.training.settings import GrpoSettings

    said = {
        "rewards": _weights(reward) if reward else None, "learning_rate": learning_rate, "max_steps": max_steps,
        "per_device_train_batch_size": questions, "num_generations": num_generations, "kl_coef": kl_coef, "limit": limit,
        "max_completion_length": max_completion_length, "save_steps": save_steps, "seed": seed,
    }  # fmt: skip
    settings = check(GrpoSettings, read_config(config, said))
    for name in settings.rewards:
        registry.find("rewards", name)
    if not suffix and not overwrite:
        raise Invalid("Without --suffix the new experts replace the old ones: say --overwrite if you mean it.")

    import yosegi.tasks
    from yosegi.library.card import check_name
    from yosegi.library.store import Library
    from yosegi.run import Run

    loaded = {t.name: t for t in map(yosegi.tasks.load, dict.fromkeys(task))}
    from yosegi.bases import load

    beside = load(base, settings.dtype, settings.load_in_4bit)
    shelf = Library(library, beside.hash, beside.name)
    begun = [shelf[name] for name in (list(shelf) if "all" in expert else dict.fromkeys(expert))]
    new = {e.name: check_name(e.name + suffix) for e in begun}
    if taken := [name for name in new.values() if name in shelf and not overwrite]:
        raise Invalid(f"{library} has an expert called {taken[0]!r}: --overwrite replaces it, --suffix avoids it.")
    asked = _asked(loaded, labels, system)

    from yosegi.training.grpo import Question, grpo

    where = Run(
        run or Path("runs") / f"reinforce-{library.name}",
        {
            "command": "reinforce",
            "base": beside.name,
            "experts": list(new),
            "tasks": list(loaded),
            **settings.model_dump(),
        },
    )
    named = [dataclasses.replace(e, name=new[e.name]) for e in begun]
    every = [Question(loaded[name], example) for name, some in asked.items() for example in some]
    made = grpo(
        beside, named, {e.name: every for e in named}, where, settings,
        masks={e.name: _own(e) for e in named}, keep=lambda e: shelf.add(e, overwrite=overwrite), resume=not fresh,
    )  # fmt: skip
    if first_process():
        done = [{"name": e.name, "parents": e.card["parents"], **e.card["metrics"]} for e in made]
        if not as_json:
            for row in done:
                print(f"{row['name']}: {row['steps']} steps on {row['examples']} questions")
        say(done, as_json, f"The curves: yosegi report {where.path}")


def _weights(given: list[str]) -> dict[str, float]:
    """correct, or soft_format=0.5."""
    found = {}
    for text in given:
        name, _, weight = text.partition("=")
        try:
            found[name] = float(weight or 1)
        except ValueError as error:
            raise Invalid(f"--reward {text!r}: the form is NAME or NAME=WEIGHT.") from error
    return found


def _asked(loaded: dict[str, Any], labels: Path | None, system: str) -> dict[str, Any]:
    """The training questions of each task, all or those of one system."""
    from yosegi.errors import UnknownName
    from yosegi.partitions import by_system

    data = {name: task.examples("train") for name, task in loaded.items()}
    if labels is None:
        return data
    groups = by_system.read(labels).groups
    if system not in groups:
        raise UnknownName.among("system", system, groups)
    wanted = {example.id for example in groups[system]}
    found = {name: [e for e in some if e.id in wanted] for name, some in data.items()}
    if not any(found.values()):
        raise Invalid(f"{labels} has no question of {', '.join(loaded)} that belongs to {system}.")
    return found


def _own(expert: Any) -> dict[str, Any]:
    """All entries that were learnt. What an expert began as, which it carries to be subtracted, stays as it is."""
    import torch

    rank = (expert.card.get("recipe") or {}).get("rank") or expert.rank
    rows = rank if expert.card.get("init") in ("pissa", "olora") else expert.rank
    return {
        f"{layer}|{which}": torch.ones(shape, dtype=torch.bool)
        for layer, f in expert.factors.items()
        for which, shape in (("A", (rows, f.A_RI.shape[1])), ("B", (f.B_OR.shape[0], rows)))
    }
