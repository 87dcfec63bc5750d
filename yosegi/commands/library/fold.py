"""`yosegi library fold`: a kept arm that is the same for every input, such as CAT's, becomes one ordinary expert."""

from typing import Annotated

import typer

from yosegi.commands._options import Folder, Json, Overwrite, begin, say


def fold(
    library: Folder,
    arm: Annotated[str, typer.Argument(help="A kept arm whose weights are the same for every input.")],
    name: Annotated[str | None, typer.Option(help="Name of the expert; by default NAME-folded.")] = None,
    rank: Annotated[int | None, typer.Option(help="Cut it to this rank; by default the ranks add up.", min=1)] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Make one ordinary expert of a static router (CAT as a PEFT adapter) or of what a search kept."""
    begin(None, as_json)
    from yosegi.engine.fold import fold_into
    from yosegi.spec import quote

    name = name or f"{arm}-folded"
    card = fold_into(library, quote(arm), name, rank=rank, overwrite=overwrite)
    text = f"{name}: {len(card['parents'])} experts as {arm} weights them, rank {card['rank']}"
    say(card, as_json, f"{text}, relative error {card['relative_error']:.4f}, in {library}")
