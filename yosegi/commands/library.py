"""`yosegi library …`: the experts on disk."""

from pathlib import Path
from typing import Annotated

import typer

from yosegi.commands._options import Json, begin, say, table

app = typer.Typer(
    help="The experts on disk: ls, show, add, rm, import, export, verify, similarity.", no_args_is_help=True
)

Where = Annotated[Path, typer.Argument(help="The folder of the library.")]
Name = Annotated[str, typer.Argument(help="An expert.")]
OWN = ("name", "sha256", "created")
"""What a card says of one copy of an expert, and not of the expert."""
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an expert of the same name.")]


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
            str(card.get("init") or (card.get("recipe") or {}).get("merge") or ""),
            str(card.get("created") or "")[:16],
        ]
        for name, card in cards.items()
    ]
    table(f"{library}: {len(cards)} experts", ["name", "task", "base", "rank", "made by", "created"], rows)


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
def rm(library: Where, names: Annotated[list[str], typer.Argument(help="Experts.")]) -> None:
    """Delete experts."""
    from yosegi.errors import UnknownName
    from yosegi.library.store import Library

    shelf = Library(library)
    if missing := [name for name in names if name not in shelf]:  # all must be there before the first is gone
        raise UnknownName.among("expert of this library", missing[0], shelf)
    for name in names:
        shelf.remove(name)


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
    from yosegi.library.similarity import similarity as cosine
    from yosegi.library.store import Library

    if space not in ("delta", "factors"):
        raise UnknownName.among("space", space, ("delta", "factors"))
    experts = Library(library).load()
    found = cosine(experts, space).tolist()
    names = [e.name for e in experts]
    if as_json:
        say({"experts": names, "space": space, "cosine": found}, True)
        return
    rows = [[name, *(f"{value:.2f}" for value in row)] for name, row in zip(names, found, strict=True)]
    table("", ["", *names], rows)
