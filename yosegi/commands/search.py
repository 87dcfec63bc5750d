"""`yosegi search`: the merge, the weights or the router settings that answer validation questions best."""

from pathlib import Path
from typing import Annotated, Any

import typer

from yosegi.commands._options import BaseName, Data, Json, LibraryDir, RunDir, Seed, begin, say, table
from yosegi.errors import Invalid

Goals = Annotated[
    list[str],
    typer.Option(
        "--task", help="NAME[:METRIC][=WEIGHT]; the metric is the task's own, or logp (cheap). May be repeated."
    ),
]


def search(
    task: Goals,
    base: BaseName = "nano",
    library: LibraryDir = Path("library"),
    expert: Annotated[
        list[str] | None, typer.Option(help="Search among these; by default all that no search made.")
    ] = None,
    method: Annotated[list[str] | None, typer.Option(help="A merge (cat); several to choose among them.")] = None,
    router: Annotated[str | None, typer.Option(help="Search the settings of a router instead of weights.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="NAME=VALUE, NAME=LOW:HIGH[:log] or NAME=A,B of the method.")
    ] = None,
    sampler: Annotated[str, typer.Option(help="tpe, cmaes or random.")] = "tpe",
    trials: Annotated[int, typer.Option(help="How many, beside the baselines.", min=0)] = 100,
    timeout: Annotated[float | None, typer.Option(help="Seconds after which no trial begins.", min=0)] = None,
    penalty: Annotated[float, typer.Option(help="On mean |w|.")] = 0.05,
    cap: Annotated[float, typer.Option(help="The greatest |w|, at least 1.")] = 1.5,
    negative: Annotated[bool, typer.Option("--negative", help="Weights may be below 0.")] = False,
    groups: Annotated[int, typer.Option(help="Runs of neighbouring blocks with weights of their own.", min=1)] = 1,
    by_type: Annotated[bool, typer.Option("--by-type", help="Attention has weights of its own.")] = False,
    mix: Annotated[str, typer.Option(help="outputs or factors, for routers.")] = "outputs",
    limit: Annotated[int | None, typer.Option(help="At most so many validation examples a task.", min=1)] = None,
    pareto: Annotated[bool, typer.Option("--pareto", help="Every task is an objective of its own.")] = False,
    no_prune: Annotated[bool, typer.Option("--no-prune", help="Finish bad trials too.")] = False,
    workers: Annotated[int, typer.Option(help="Processes on one study.", min=1)] = 1,
    keep: Annotated[str | None, typer.Option(help="Add the chosen merge to the library under this name.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an expert of that name.")] = False,
    batch_size: Annotated[int, typer.Option(help="Sequences at a time.", min=1)] = 64,
    seed: Seed = 0,
    run: RunDir = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Search on validation questions; test is never read. Interrupted, it goes on. Writes best.yaml for `yosegi merge`."""
    begin(data, as_json)
    from yosegi.library.store import Library

    if keep:
        _check_keep(Library(library), keep, router, overwrite)
    list(Library(library))  # a folder that is not there is said before anything is loaded

    from yosegi.search.findings import findings
    from yosegi.search.plan import Plan

    plan = Plan(
        str(library), tuple(task), base, tuple(expert or ()), tuple(method or ()), router, tuple(settings or ()), sampler,
        penalty, cap, negative, groups, by_type, mix, limit, prune=not no_prune, pareto=pareto, batch_size=batch_size, seed=seed,
    )  # fmt: skip
    opened = plan.open()

    from yosegi.run import Run
    from yosegi.search import outcome
    from yosegi.search.study import search as look
    from yosegi.search.study import study_of

    where = Run(run or Path("runs") / f"search-{library.name}")
    interrupted = False
    try:
        study = look(plan, where, trials=trials, timeout=timeout, workers=workers, opened=opened)
    except KeyboardInterrupt:
        study, interrupted = study_of(opened, where.path), True
    every = outcome.tried(study, opened.space)
    if every:
        findings(where, study, opened)
        outcome.write(outcome.choose(every), opened, where.path, keep or "searched")
    if interrupted:
        raise KeyboardInterrupt
    best = outcome.choose(every)
    if keep:
        _keep(Library(library, opened.base.hash, opened.base.name), outcome.keep(best, opened, study, keep), overwrite)
    if as_json:
        chosen = outcome.settings_of(best, opened, keep or "searched")
        front = [one.label for one in outcome.front(every)] if pareto else None
        said = {
            "run": str(where.path),
            "chosen": best.label,
            "value": best.value,
            "score": best.score,
            "recipe": chosen,
        }
        baselines = {one.label: dict(zip(opened.exam.labels, one.means, strict=True)) for one in every if one.baseline}
        means = dict(zip(opened.exam.labels, best.means, strict=True))
        say({**said, "means": means, "baselines": baselines, "trials": len(every), "front": front}, True)
        return
    shown = [best, *sorted((one for one in every if one.baseline and one is not best), key=lambda one: -one.score)]
    numbers = [[one.label, f"{one.value:.4f}", *(f"{mean:.4f}" for mean in one.means)] for one in shown]
    print("Chosen, and the baselines, on validation:")
    table("", ["", "value", *opened.exam.labels], numbers)
    print(f"\nThe recipe: {where.path / outcome.FILE}   A page of it: yosegi report {where.path}")
    print(f"What it is worth: {_next(opened, best, keep, where.path)}")


def _check_keep(library: Any, name: str, router: str | None, overwrite: bool) -> None:
    """Before hours of searching: could it be kept?"""
    from yosegi.library.card import check_name

    if router:
        raise Invalid("A router chooses anew for every token: there is no expert to --keep.")
    if check_name(name) in library and not overwrite and "search" not in (library.card(name).get("training") or {}):
        raise Invalid(
            f"{library.path} has an expert called {name!r} already: --overwrite replaces it, or choose another name."
        )


def _keep(library: Any, expert: Any, overwrite: bool) -> None:
    """Add it, unless it is there already as it is."""
    import json

    if expert.name in library and library.card(expert.name).get("training") == json.loads(
        json.dumps(expert.card["training"])
    ):
        return
    library.add(expert, overwrite=overwrite)


def _next(opened: Any, best: Any, keep: str | None, run: Path) -> str:
    """The command that measures the choice on test."""
    asked = " ".join(f"--task {goal.task.name}" for goal in opened.exam.goals)
    beside = f"--base {opened.plan.base} --library {opened.plan.library}"
    if best.recipe.kind == "routers":
        options = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in best.recipe.args.items())
        return f"yosegi eval {beside} --router {opened.plan.router} {options} {asked}"
    if not any(any(w_E) for w_E in best.recipe.weights_GE):
        return "no blend was better than the base alone; more --trials, other experts, --negative?"
    if keep:
        return f"yosegi eval {beside} --expert {keep} {asked}"
    if len(best.recipe.weights_GE) > 1:
        return "the same command with --keep NAME makes the expert, and then yosegi eval."
    made = f"yosegi merge --library {opened.plan.library} --config {run / 'best.yaml'}"
    return f"{made} and then yosegi eval {beside} --expert searched {asked}"
