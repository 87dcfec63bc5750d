"""`yosegi library similarity`: how alike the experts are."""

from pathlib import Path
from typing import Annotated

import typer

from yosegi.commands._options import Folder, Json, begin, say, table


def similarity(
    library: Folder = Path("library"),
    space: Annotated[str, typer.Option(help="delta: what they do; factors: how they are written.")] = "delta",
    as_json: Json = False,
) -> None:
    """Print the cosine of each two experts."""
    begin()
    from yosegi.errors import UnknownName
    from yosegi.library.origin import check_origin
    from yosegi.library.similarity import SPACES
    from yosegi.library.similarity import similarity as cosine
    from yosegi.library.store import Library

    UnknownName.check("space", [space], SPACES)
    experts = Library(library).load()
    cosine_EE = cosine(experts, space).tolist()
    if space == "factors":
        check_origin(experts, "compared", "--space delta")
    names = [expert.name for expert in experts]
    if as_json:
        say({"experts": names, "space": space, "cosine": cosine_EE}, True)
        return
    rows = [[name, *(f"{value:.2f}" for value in row)] for name, row in zip(names, cosine_EE, strict=True)]
    table("", ["", *names], rows)
