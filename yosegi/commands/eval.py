"""`yosegi eval`: arms x tasks -> a leaderboard."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from yosegi.commands._options import Data, DType, In4Bit, Json, RunDir, Seed, Tasks, begin, say
from yosegi.errors import Invalid, NoData


def eval_(
    task: Tasks = [],  # noqa: B006 - typer reads it, nobody writes it
    base: Annotated[
        list[str] | None,
        typer.Option(
            "--base",
            "--model_name_or_path",
            help="nano (the default), house, a folder or a Hub id. Several are compared with each other.",
        ),
    ] = None,
    bases: Annotated[Path | None, typer.Option(help="A file of bases to compare, one a line.")] = None,
    library: Annotated[Path | None, typer.Option("--library", help="The experts; without it the base alone.")] = None,
    expert: Annotated[list[str] | None, typer.Option(help="One expert alone; 'all' for each in turn.")] = None,
    router: Annotated[
        list[str] | None, typer.Option(help="All experts under a router, or one that `fit` made.")
    ] = None,
    among: Annotated[
        list[str] | None,
        typer.Option(help="Whom routers and merges have; by default all that were not made of others here."),
    ] = None,
    without: Annotated[
        list[str] | None, typer.Option(help="A router again, without this expert; a,b without both; 'all': one by one.")
    ] = None,
    type_: Annotated[
        list[str] | None, typer.Option("--type", help='Who is heard on what: "easy: level <= 2", "hard"; as of train.')
    ] = None,
    merge: Annotated[list[str] | None, typer.Option(help="All experts merged into one. May be repeated.")] = None,
    mix: Annotated[str | None, typer.Option(help="outputs (the default) or factors, for routers.")] = None,
    top_k: Annotated[int | None, typer.Option(help="For routers that choose.")] = None,
    temperature: Annotated[float | None, typer.Option(help="For routers that have one.")] = None,
    rank: Annotated[int | None, typer.Option(help="Of the merged expert, for merges that cut.", min=1)] = None,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    limit: Annotated[int | None, typer.Option(help="At most so many examples a task.", min=1)] = None,
    forgetting: Annotated[
        bool, typer.Option("--forgetting", help="Also ask general knowledge and texts: what was forgotten?")
    ] = False,
    batch_size: Annotated[int, typer.Option(help="Sequences at a time.", min=1)] = 64,
    dtype: DType = None,
    load_in_4bit: In4Bit = False,
    seed: Seed = 0,
    run: RunDir = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Compare the base, single experts, routers and merges on tasks, item by item; or several bases with each other.

    Interrupted, it goes on. Of several bases one is in memory at a time; one that fails is said, the others go on, and the exit
    code is 1.
    """
    begin(data, as_json)
    from dataclasses import replace

    from yosegi import registry
    from yosegi.core.mix import named
    from yosegi.errors import UnknownName

    if not (task or forgetting):
        raise Invalid("There is nothing to ask: name a --task (yosegi ls tasks), or ask for --forgetting.")
    if (expert or router or merge) and library is None:
        raise Invalid("--expert, --router and --merge need --library, the folder of the experts.")
    for name in merge or []:
        if ":" not in name and name not in registry.names("merges"):
            raise UnknownName.among("merge", name, registry.names("merges"))
    kept = _kept(library, router) if library is not None and router else []
    if "by_request" in (router or []):
        raise Invalid("by_request hears the expert that each request names; to evaluate one expert use --expert NAME.")
    named(mix or "outputs")
    if type_:
        from yosegi.partitions.by_type import rule

        [rule(text) for text in type_]
        if not (router and task):
            raise Invalid(
                "--type shows whom a router hears on which questions of a task: it needs --router and --task."
            )
    if among and not (router or merge):
        raise Invalid("--among says which experts a --router or a --merge has.")
    if without and not router:
        raise Invalid("--without leaves experts of a router out, and needs --router.")
    if split not in ("train", "validation", "test"):
        raise UnknownName.among("split", split, ("train", "validation", "test"))

    names = [*(base or []), *(_listed(bases) if bases else [])] or ["nano"]
    if len(names) > 1 and library is not None:
        raise Invalid("Experts stand beside one base: --library goes with one --base.")
    if (len(names) > 1 or bases) and forgetting:
        raise Invalid("--forgetting compares experts with their base: it goes with one --base.")

    import yosegi.tasks
    from yosegi.bases import load
    from yosegi.engine.arm import Arm
    from yosegi.engine.kept import load_arm
    from yosegi.evaluation.forgetting import forgetting as measure_forgetting
    from yosegi.evaluation.forgetting import probes
    from yosegi.evaluation.measure import evaluate
    from yosegi.library.origin import check_origin
    from yosegi.library.store import Library
    from yosegi.reporting.terminal import leaderboard
    from yosegi.run import Run

    tasks = [yosegi.tasks.load(t) for t in dict.fromkeys(task)]
    for one in tasks:
        if said := one.note(split):
            print(f"{one.name}: {said}", file=sys.stderr)
    if len(names) > 1 or bases:
        if dtype or load_in_4bit:
            raise Invalid("--dtype and --load-in-4bit go with one --base.")
        _several(names, tasks, run, split, limit, seed, batch_size, as_json)
        return
    beside = load(names[0], dtype or "fp32", load_in_4bit)
    experts, arms, shelf = [], [Arm("base")], Library(library or "", beside.hash, beside.name)
    if library is not None:
        for one in shelf.load(None if "all" in (expert or []) else dict.fromkeys(expert or [])):
            arms.append(Arm(one.name, [one]))
        experts = shelf.load(dict.fromkeys(among) if among else shelf.originals()) if router or merge else []
    heard = f" among {'+'.join(among)}" if among else ""
    for name in router or []:
        it = load_arm(shelf, name) if name in kept else None
        given = _arguments(it.router if it else name, top_k, temperature)
        called = name if mix in (None, "outputs") else f"{name}_{mix}"
        called = " ".join([called, *(f"{key} {value:g}" for key, value in given.items())]) + heard * (it is None)
        if it:
            args = {**it.router_args, **given}
            arms.append(replace(it, name=called, router_args=args, mix=mix or it.mix))
            if len(it.experts) < len(experts):
                print(
                    f"{name} routes the {len(it.experts)} experts it learnt beside, not all {len(experts)}.",
                    file=sys.stderr,
                )
        else:
            if mix == "factors":
                check_origin(experts, "mixed", "--mix outputs")
            arms.append(Arm(called, experts, name, given, mix=mix or "outputs"))
    arms += [replace(arm, name=f"{arm.name} without {'+'.join(some)}", ablate=some)
             for arm in arms for some in _silenced(arm, without or [])]  # fmt: skip
    for name in merge or []:
        arms.append(Arm(f"{name} merge{heard}", experts, merge=name, merge_args={"rank": rank} if rank else {}))
    general, known = [], []
    if forgetting:
        general, missing = probes(beside, arms)
        print(*missing, sep="\n", end="\n" * bool(missing), file=sys.stderr)
        known = [t for t in tasks if (t.name, split) in [(probe.name, of) for probe, of in general]]
        tasks = [t for t in tasks if t not in known]
        general = [(probe, of) for probe, of in general if (probe.name, of) not in [(t.name, split) for t in known]]
    groups = {}
    if type_:
        from yosegi.partitions.by_type import by_type, typed

        asked = {t.name: t.examples(split)[:limit] for t in (*tasks, *known)}
        groups = typed(by_type(asked, rules=type_), asked)
    held = beside.dtype if beside.dtype != "fp32" else None
    where = Run(
        run or Path("runs") / "-".join(filter(None, ["eval", library.name if library else Path(names[0]).name, held])),
        {"command": "eval", "base": names[0], "dtype": beside.dtype, "library": library and str(library),
         "tasks": [t.name for t in tasks],
         **({"general": [*(t.name for t in known), *(t.name for t, _ in general)]} if forgetting else {}),
         "arms": [arm.name for arm in arms], "split": split, "limit": limit, "seed": seed},
    )  # fmt: skip
    how = {"limit": limit, "seed": seed, "batch_size": batch_size}
    rows = evaluate(beside, arms, tasks, where, split=split, **how) if tasks else []
    if known:  # general, but asked for by name: as many questions as of the others, and traced
        rows += evaluate(beside, arms, known, where, split=split, general=True, **how)
    if general:
        rows += measure_forgetting(beside, arms, where, general, **how)
    for arm in arms if groups else ():
        if len(arm.experts) > 1 and not arm.merge and not arm.ablate and arm.router != "oracle":
            from yosegi.evaluation.routing import trace_groups

            trace_groups(beside, arm, groups, where)
    if as_json:
        say(rows, True)
    else:
        leaderboard(rows)
        if forgetting:
            from yosegi.reporting.forgetting import print_forgetting

            print_forgetting(where.path)
        print(f"\nItems and rows: {where.path}   A page of it: yosegi report {where.path}")


def _listed(file: Path) -> list[str]:
    """The bases of a file, one a line; # begins a comment."""
    if not file.is_file():
        raise NoData(f"There is no file {str(file)!r}.")
    lines = (line.split("#")[0].strip() for line in file.read_text(encoding="utf-8").splitlines())
    if not (found := list(dict.fromkeys(filter(None, lines)))):
        raise Invalid(f"{file} names no base.")
    return found


def _several(
    names: list[str],
    tasks: list[Any],
    run: Path | None,
    split: str,
    limit: int | None,
    seed: int,
    batch_size: int,
    as_json: bool,
) -> None:
    """Bases against each other."""
    from yosegi.evaluation.bases import against_best, evaluate_bases, words
    from yosegi.reporting.terminal import leaderboard
    from yosegi.run import Run

    where = Run(
        run or Path("runs") / "eval-bases",
        {"command": "eval", "bases": names, "tasks": [t.name for t in tasks], "split": split, "limit": limit, "seed": seed},
    )  # fmt: skip
    found = evaluate_bases(
        names, tasks, where, split=split, limit=limit, seed=seed, batch_size=batch_size,
        tell=lambda line: print(line, file=sys.stderr),
    )  # fmt: skip
    if as_json:
        say(found.rows, True)
    elif found.rows:
        leaderboard([row for row in found.rows if row["metric"] != "logp"])  # tokens differ from base to base
        for name, lines in against_best(found.rows, where).items():
            print(f"\n{name}. {' '.join(words(lines))}")
        print(f"\nItems and rows: {where.path}   A page of it: yosegi report {where.path}")
    if found.failed:
        print(f"{len(found.failed)} of {len(names)} bases were not measured.", file=sys.stderr)
        raise typer.Exit(1)


def _silenced(arm: Any, without: list[str]) -> list[tuple[str, ...]]:
    """Which experts of an arm are to be left out, set by set; none of a lone expert."""
    from yosegi.errors import UnknownName

    names = [expert.name for expert in arm.experts]
    if len(names) < 2:
        return []
    found = [(name,) for name in names] if "all" in without else []
    found += [tuple(some.split(",")) for some in without if some != "all"]
    for name in (name for some in found for name in some):
        if name not in names:
            raise UnknownName.among(f"expert under {arm.name}", name, names)
    return list(dict.fromkeys(found))


def _arguments(router: str, top_k: int | None, temperature: float | None) -> dict[str, Any]:
    import inspect

    from yosegi import registry

    takes = inspect.signature(registry.find("routers", router)).parameters
    given = {"top_k": top_k, "temperature": temperature}
    return {name: value for name, value in given.items() if value is not None and name in takes}


def _kept(library: Path, asked: list[str]) -> list[str]:
    """The routers that the library keeps; one of `asked` that is not there and cannot do without learning is refused."""
    from yosegi import registry
    from yosegi.engine.kept import arms
    from yosegi.errors import UnknownName
    from yosegi.library.store import Library

    kept, known = arms(Library(library)), registry.names("routers")
    for name in (name for name in asked if name not in kept):
        if ":" not in name and name not in known:
            raise UnknownName.among("router", name, [*known, *kept])
        if how := registry.find("routers", name).learns:
            teach = f"yosegi train-router --library {library} --router {name}"
            teach = "it learns together with its experts." if how == "jointly" else teach
            raise Invalid(f"{library} keeps no router {name} that has learnt: {teach}")
    return kept
