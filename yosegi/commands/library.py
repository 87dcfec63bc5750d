"""`yosegi library …`: the experts on disk."""

from pathlib import Path
from typing import Annotated, Any

import typer

from yosegi.commands._options import Json, begin, say, table

app = typer.Typer(
    help="The experts on disk: ls, show, add, rm, import, export, verify, similarity, cluster, subtract, routers, fold.",
    no_args_is_help=True,
)

Where = Annotated[Path, typer.Argument(help="The folder of the library.")]
Name = Annotated[str, typer.Argument(help="An expert.")]
OWN = ("name", "sha256", "created")
"""What a card says of one copy of an expert, and not of the expert."""
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an expert of the same name.")]
Named = Annotated[list[str] | None, typer.Argument(help="Experts; by default all.")]


@app.command("ls")
def ls(library: Where = Path("library"), as_json: Json = False) -> None:
    """What is in it."""
    from yosegi.library.store import Library

    cards = Library(library).cards()
    if as_json:
        say(cards, True)
        return
    rows = [
        [
            name,
            ", ".join(card.get("task") or []),
            str(card.get("base") or "?"),
            str(card.get("rank")),
            str(card.get("init") or (card.get("training") or {}).get("merge") or ""),
            str(card.get("created") or "")[:16],
        ]
        for name, card in cards.items()
    ]
    table(f"{library}: {len(cards)} experts", ["name", "task", "base", "rank", "made by", "created"], rows)


@app.command("routers")
def routers(library: Where = Path("library"), as_json: Json = False) -> None:
    """The routers that learnt beside its experts (`yosegi train-router`)."""
    from yosegi.engine.kept import arms, read_arm
    from yosegi.library.store import Library

    shelf = Library(library)
    there = set(shelf)
    cards = {name: read_arm(shelf, name) for name in arms(shelf)}
    if as_json:
        say(cards, True)
        return
    rows = [
        [
            name,
            card["router"],
            ", ".join(e["name"] + ("" if e["name"] in there else " (gone)") for e in card["experts"]),
            card["mix"],
            str(card.get("created") or "")[:16],
        ]
        for name, card in cards.items()
    ]
    table(f"{library}: {len(cards)} routers", ["name", "router", "experts", "mix", "created"], rows)


@app.command("show")
def show(library: Where, name: Name) -> None:
    """The card of one expert, as JSON."""
    from yosegi.library.store import Library

    say(Library(library).card(name), True)


@app.command("add")
def add(
    library: Where,
    folder: Annotated[Path, typer.Argument(help="An expert's folder, as a library or PEFT writes it.")],
    name: Annotated[str | None, typer.Option(help="By default the folder's.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Copy an expert from another library. For a PEFT adapter this is `import`."""
    take_in(library, folder, name, None, None, overwrite)


@app.command("import")
def take_in(
    library: Where,
    folder: Annotated[Path, typer.Argument(help="A folder with adapter_config.json and adapter_model.safetensors.")],
    name: Annotated[str | None, typer.Option(help="By default the folder's.")] = None,
    initial: Annotated[Path | None, typer.Option(help="The initial factors of a PiSSA or OLoRA adapter.")] = None,
    base: Annotated[str | None, typer.Option(help="Its base, to check the shapes and note the hash.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Take in a LoRA that PEFT wrote. What would not say the same thing here is refused, with the reason."""
    begin()
    from dataclasses import replace

    from yosegi import files
    from yosegi.library.card import CARD
    from yosegi.library.interchange import read_peft
    from yosegi.library.store import Library

    beside = None
    if base is not None:
        from yosegi.bases import load

        beside = load(base)
    expert = read_peft(folder, beside and beside.model, initial=initial)
    card = dict(expert.card)
    if (folder / CARD).is_file():  # one of ours: it knows its base and where it comes from
        card |= {key: value for key, value in files.read_json(folder / CARD).items() if key not in OWN}
    if beside is not None:
        card |= {"base": beside.name, "base_hash": beside.hash}
    expert = replace(expert, name=name or folder.resolve().name, card=card)
    shelf = Library(library, beside and beside.hash, beside and beside.name)
    shelf.add(expert, overwrite=overwrite)
    print(f"{expert.name}: rank {expert.rank}, {len(expert.factors)} layers, in {library}")
    if not shelf.card(expert.name).get("base_hash"):
        print(
            "It does not say which base it stands beside, so it cannot be used yet: import it again with --base NAME --overwrite."
        )


@app.command("export")
def export(
    library: Where,
    name: Name,
    to: Annotated[Path, typer.Argument(help="The folder to write.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
) -> None:
    """Write an expert as a PEFT adapter: `PeftModel.from_pretrained(base, FOLDER)` and vLLM load it."""
    from yosegi import files
    from yosegi.errors import Invalid
    from yosegi.library.card import CARD
    from yosegi.library.interchange import write_peft
    from yosegi.library.peft_files import CONFIG
    from yosegi.library.store import Library

    expert = Library(library)[name]
    if to.exists() and not overwrite:
        raise Invalid(f"{to} is there already; --overwrite replaces it.")
    if to.exists() and not (to / CONFIG).is_file():
        raise Invalid(f"{to} is there and is no adapter; --overwrite replaces nothing else.")
    with files.new_folder(to) as new:
        write_peft(expert, new, expert.card.get("base"), expert.card.get("task_type") or "CAUSAL_LM")
        files.write_json(new / CARD, dict(expert.card))  # PEFT does not mind it, and an import finds the base again
    print(f"{name}: {to}")


@app.command("rm")
def rm(
    library: Where,
    names: Annotated[list[str], typer.Argument(help="Experts, or with --router routers.")],
    router: Annotated[bool, typer.Option("--router", help="Delete routers that `fit` made, not experts.")] = False,
) -> None:
    """Delete experts or routers."""
    from yosegi.engine.kept import arms, remove_arm
    from yosegi.errors import UnknownName
    from yosegi.library.store import Library

    shelf = Library(library)
    there = arms(shelf) if router else list(shelf)
    if missing := [name for name in names if name not in there]:  # all must be there before the first is gone
        raise UnknownName.among(f"{'arm' if router else 'expert'} of this library", missing[0], there)
    for name in dict.fromkeys(names):
        remove_arm(shelf, name) if router else shelf.remove(name)


@app.command("verify")
def verify(library: Where = Path("library"), as_json: Json = False) -> None:
    """Read every byte and name every file that is damaged. Exit code 1 if there is one."""
    from yosegi.library.store import Library

    shelf = Library(library)
    problems = shelf.verify()
    if as_json:
        say([{"file": str(p.file), "what": p.what} for p in problems], True)
    else:
        for problem in problems:
            print(f"{problem.file}: {problem.what}")
        print(f"{len(shelf)} experts, {len(problems)} problems")
    if problems:
        raise typer.Exit(1)


@app.command("similarity")
def similarity(
    library: Where = Path("library"),
    space: Annotated[str, typer.Option(help="delta: what they do; factors: how they are written.")] = "delta",
    as_json: Json = False,
) -> None:
    """How alike the experts are: cosine of each two."""
    begin()
    from yosegi.errors import UnknownName
    from yosegi.library.origin import check_origin
    from yosegi.library.similarity import similarity as cosine
    from yosegi.library.store import Library

    if space not in ("delta", "factors"):
        raise UnknownName.among("space", space, ("delta", "factors"))
    experts = Library(library).load()
    found = cosine(experts, space).tolist()
    if space == "factors":
        check_origin(experts, "compared", "--space delta")
    names = [e.name for e in experts]
    if as_json:
        say({"experts": names, "space": space, "cosine": found}, True)
        return
    rows = [[name, *(f"{value:.2f}" for value in row)] for name, row in zip(names, found, strict=True)]
    table("", ["", *names], rows)


@app.command("cluster")
def cluster(
    library: Where = Path("library"),
    names: Named = None,
    k: Annotated[
        int | None, typer.Option("--k", "-k", help="How many clusters (10; with --sweep alone, none).")
    ] = None,
    space: Annotated[
        str, typer.Option(help="factors: how they are written, as in the paper; delta: what they do.")
    ] = "factors",
    sparsity: Annotated[float, typer.Option(help="Share of an expert's entries to silence (factors).")] = 0.5,
    components: Annotated[int, typer.Option(help="Of the truncated SVD (factors).")] = 64,
    seed: Annotated[int, typer.Option(help="Of k-means.")] = 42,
    sweep: Annotated[str | None, typer.Option(help="Compare several k, as in 2,5,10,25.")] = None,
    figure: Annotated[Path | None, typer.Option(help="Draw the cosines there, sorted by cluster (PNG).")] = None,
    as_json: Json = False,
) -> None:
    """Which experts are alike (MBC): the clusters, their members, and how well they are told apart."""
    begin(None, as_json)
    from yosegi.library.store import Library
    from yosegi.partitions import by_cluster as mbc

    ks = None if sweep is None else _numbers(sweep)
    shelf = Library(library)
    experts = shelf.load(names or shelf.originals())
    how: dict[str, Any] = {"space": space, "sparsity": sparsity, "components": components, "seed": seed}
    said: dict[str, Any] = {}
    if k is not None or figure is not None or ks is None:
        said = mbc.cluster(experts, 10 if k is None else k, **how)
    if ks is not None:
        said["sweep"] = mbc.sweep(experts, ks, **how)
    if figure is not None:
        from yosegi.reporting.clusters import draw

        draw(said, figure)
    if as_json:
        say(said, True)
        return
    head = f"{library}: {len(experts)} experts by {space}"  # a table would break it to its own width
    if "clusters" in said:
        rows = [[name, str(len(members)), ", ".join(members)] for name, members in said["clusters"].items()]
        print(f"{head}, k={said['k']}, silhouette {_cell(said['silhouette'])}")
        table("", ["cluster", "experts", "members"], rows)
    if ks is not None:
        rows = [
            [str(row["k"]), _cell(row["silhouette"]), _cell(row["inertia"]), " ".join(map(str, row["sizes"]))]
            for row in said["sweep"]
        ]
        print(head)
        table("", ["k", "silhouette", "inertia", "sizes"], rows)


def _numbers(text: str) -> list[int]:
    from yosegi.errors import Invalid

    try:
        return [int(k) for k in text.split(",")]
    except ValueError as error:
        raise Invalid(f"--sweep takes whole numbers with commas between them; {text!r} was given.") from error


def _cell(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"


@app.command("subtract")
def subtract(
    library: Where,
    general: Annotated[str, typer.Argument(help="The expert to take out of the others.")],
    names: Named = None,
    mode: Annotated[str, typer.Option(help="delta: exact, the ranks add up; factors: as the paper's code.")] = "delta",
    to: Annotated[Path | None, typer.Option(help="The library for the results; by default the same.")] = None,
    suffix: Annotated[
        str | None,
        typer.Option("--name-suffix", help="After each name; by default -minus-GENERAL, or nothing with --to."),
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Take a general expert out of the others (GenKnowSub), all or those named; itself and earlier results excepted."""
    begin(None, as_json)
    from yosegi.errors import Invalid
    from yosegi.library.store import Library
    from yosegi.library.subtract import subtract as without

    shelf, other = Library(library), Library(to or library)
    after = suffix if suffix is not None else "" if to else f"-minus-{general}"
    taken_out = shelf[general]
    experts = shelf.load(names or [name for name in shelf.originals() if name != general])
    if not experts:
        raise Invalid(f"{library} has no expert to take {general!r} out of.")
    results = [without(expert, taken_out, mode, expert.name + after) for expert in experts]
    if not overwrite and (there := [result.name for result in results if result.name in other]):
        raise Invalid(f"{other.path} has an expert called {there[0]!r}. Give another --name-suffix, or --overwrite.")
    for result in results:  # all were made, and all have a place, before the first is written
        other.add(result, overwrite=overwrite)
    said = {
        "library": str(other.path),
        "experts": [result.name for result in results],
        "mode": mode,
        "without": general,
    }
    ranks = sorted({result.rank for result in results})
    say(
        said,
        as_json,
        f"{len(results)} experts without {general} by {mode}, rank {' and '.join(map(str, ranks))}, in {other.path}: "
        + ", ".join(said["experts"]),
    )


@app.command("fold")
def fold(
    library: Where,
    router: Annotated[
        str, typer.Argument(help="A router that `fit` made and that is the same for every input: CAT's.")
    ],
    name: Annotated[str | None, typer.Option(help="Name of the expert; by default NAME-folded.")] = None,
    rank: Annotated[int | None, typer.Option(help="Cut it to this rank; by default the ranks add up.", min=1)] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Make one ordinary expert of all that a static router says: CAT as a PEFT adapter."""
    begin(None, as_json)
    from yosegi.engine.fold import fold as folded
    from yosegi.engine.kept import load_arm
    from yosegi.library.card import check_name
    from yosegi.library.store import Library

    shelf, name = Library(library), check_name(name or f"{router}-folded")
    it = load_arm(shelf, router)
    shelf.add(folded(it, name, rank), overwrite=overwrite)
    card = shelf.card(name)
    words = f"{name}: {len(it.experts)} experts as {router} weights them, rank {card['rank']}"
    say(card, as_json, f"{words}, relative error {card['relative_error']:.4f}, in {library}")
