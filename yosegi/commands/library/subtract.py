"""`yosegi library subtract`: a general expert is taken out of the others (GenKnowSub)."""

from pathlib import Path
from typing import Annotated

import typer

from yosegi.commands._options import ExpertNames, Folder, Json, Overwrite, begin, say


def subtract(
    library: Folder,
    general: Annotated[str, typer.Argument(help="The expert to take out of the others.")],
    names: ExpertNames = None,
    mode: Annotated[str, typer.Option(help="delta: exact, the ranks add up; factors: as the paper's code.")] = "delta",
    to: Annotated[Path | None, typer.Option(help="The library for the results; by default the same.")] = None,
    suffix: Annotated[
        str | None,
        typer.Option("--name-suffix", help="After each name; by default -minus-GENERAL, or nothing with --to."),
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Take a general expert out of the others, all or those named; itself and earlier results excepted."""
    begin(None, as_json)
    from yosegi.library.store import Library
    from yosegi.library.subtract import subtract_all

    target = None if to is None else Library(to)
    results = subtract_all(Library(library), general, names, target, mode=mode, suffix=suffix, overwrite=overwrite)
    made = [expert.name for expert in results]
    ranks = " and ".join(str(rank) for rank in sorted({expert.rank for expert in results}))
    row = {"library": str(to or library), "experts": made, "mode": mode, "without": general}
    text = f"{len(made)} experts without {general} by {mode}, rank {ranks}, in {to or library}: {', '.join(made)}"
    say(row, as_json, text)
