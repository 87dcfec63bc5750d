"""`yosegi merge`: many experts of a library -> one."""

from pathlib import Path
from typing import Annotated, Any

import typer

from yosegi.commands._config import read_config
from yosegi.commands._options import Config, Json, LibraryDir, begin, say
from yosegi.errors import Invalid, UnknownName

EXAMPLE = "yosegi merge 'ties{density=.3}(maths*.7,code*.3)' --library library --name both"
SETTINGS = ("arm", "experts", "name")


def merge(
    arm: Annotated[
        str | None,
        typer.Argument(
            help="What to make one expert of \\[svd]: a merge such as ties{density=.3}(a,b), weights such as a*.7+b*.3, or an "
            "arm that the library keeps and that is the same for every input (CAT). `yosegi show METHOD` lists its arguments."
        ),
    ] = None,
    library: LibraryDir = Path("library"),
    experts: Annotated[
        list[str] | None,
        typer.Option(
            help="Experts to merge where the arm names none, as in a,b; by default all that were not made of others here."
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the result \\[merged].")] = None,
    config: Config = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an expert of the same name.")] = False,
    as_json: Json = False,
) -> None:
    """Merge experts into one and put it into the library, with how it was made, its parents and its errors."""
    begin(None, as_json)
    settings: dict[str, Any] = read_config(config, {"arm": arm, "experts": experts, "name": name})
    for key in settings:
        if key not in SETTINGS:
            raise UnknownName.among("setting of merge", str(key), SETTINGS)
    pool = settings.get("experts") or []
    if not isinstance(pool, list | str):
        raise Invalid(f"experts is a list of names; {pool!r} was given.")

    from yosegi.engine.fold import fold_into
    from yosegi.engine.spec import read_names

    pool = read_names([pool] if isinstance(pool, str) else pool)
    spec, called = str(settings.get("arm") or "svd"), str(settings.get("name") or "merged")
    card = fold_into(library, spec, called, experts=pool, overwrite=overwrite)
    cut = f", lost in the cut {card['truncation_error']:.4f}" if "truncation_error" in card else ""
    words = f"{called}: {len(card['parents'])} expert{'s' * (len(card['parents']) > 1)} by {spec}, rank {card['rank']}"
    error = card["relative_error"]
    known = "its experts cancel" if error is None else f"relative error {error:.4f}"
    say(card, as_json, f"{words}, {known}{cut}")
