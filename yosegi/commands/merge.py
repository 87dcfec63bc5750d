"""`yosegi merge`: many experts of a library -> one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from yosegi.commands._options import Json, LibraryDir, begin, read_config, say
from yosegi.errors import Invalid, UnknownName

SETTINGS = ("experts", "method", "weights", "name")


def merge(
    experts: Annotated[list[str] | None, typer.Argument(help="Names in the library; by default all.")] = None,
    library: LibraryDir = Path("library"),
    method: Annotated[str | None, typer.Option(help="As `yosegi ls merges` names it (svd).")] = None,
    weights: Annotated[
        str | None, typer.Option(help="One an expert, with commas; by default 1/E each, or the method's own.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Of the result (merged).")] = None,
    rank: Annotated[int | None, typer.Option(help="Of the result, for methods that cut.", min=1)] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="An argument of the method, as NAME=VALUE: density=0.2. `yosegi show METHOD` tells them."
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="A YAML file with these settings, and the method's arguments beside them.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an expert of the same name.")] = False,
    as_json: Json = False,
) -> None:
    """Merge experts into one and put it into the library, with its recipe, its parents and its errors."""
    begin(None, as_json)
    from yosegi.library.card import check_name

    given = {"experts": experts, "method": method, "weights": weights, "name": name, "rank": rank}
    said: dict[str, Any] = read_config(config, given | _pairs(set_ or [], rank))
    by, called = str(said.pop("method", "svd")), check_name(said.pop("name", "merged"))
    asked, shares = _names(said.pop("experts", None)), said.pop("weights", None)

    from yosegi.library.store import Library
    from yosegi.merges import merge as merge_experts
    from yosegi.spec import arguments

    known = arguments("merges", by)
    for argument in said:
        if argument not in known:  # told before anything is read; a setting may have been meant
            near = [*known, *SETTINGS] if config is not None else known
            raise UnknownName.among(f"argument of {by}", str(argument), near)
    shelf = Library(library)
    if isinstance(shares, Mapping):
        asked, shares = _by_name(shelf, asked, shares)
    if called in shelf and not overwrite:
        raise Invalid(f"{library} has an expert {called!r} already: --overwrite, or another --name.")
    loaded = shelf.load(asked or shelf.originals())
    result = merge_experts(loaded, by, _numbers(shares), called, **said)
    shelf.add(result, overwrite=overwrite)
    card = shelf.card(called)
    cut = f", lost in the cut {card['truncation_error']:.4f}" if "truncation_error" in card else ""
    say(
        card,
        as_json,
        f"{called}: {len(loaded)} expert{'s' * (len(loaded) > 1)} by {by}, rank {card['rank']}, "
        f"relative error {card['relative_error']:.4f}{cut}",
    )


def _pairs(words: list[str], rank: int | None) -> dict[str, Any]:
    """NAME=VALUE, the value read as YAML reads it."""
    import yaml

    found: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name or not value:
            raise Invalid(f"--set takes NAME=VALUE, such as density=0.2; {word!r} was given.")
        if name in found or (name == "rank" and rank is not None):
            raise Invalid(f"{name} is said twice.")
        if name in SETTINGS:
            raise Invalid(f"--set is for arguments of the method; {name} has an option of its own.")
        try:
            found[name] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise Invalid(f"--set {name}: {value!r} is no value.") from error
        if isinstance(found[name], str):
            found[name] = _float(found[name])
    return found


def _float(word: str) -> float | str:
    try:
        return float(word)  # YAML 1.1 reads 1e-4 as a word
    except ValueError:
        return word


def _names(experts: Any) -> list[str] | None:
    if experts is None or experts == []:
        return None
    if isinstance(experts, str):
        experts = [word.strip() for word in experts.split(",")]
    if not isinstance(experts, list):
        raise Invalid(f"experts is a list of names; {experts!r} was given.")
    return experts


def _by_name(shelf: Any, asked: list[str] | None, shares: Mapping[Any, Any]) -> tuple[list[str], list[Any]]:
    """Weights that a file gives by name, {math: 0.7, code: 0.3}: they also say which experts are meant."""
    asked = asked or [str(name) for name in shares]
    for name in shares:
        if name not in asked:
            raise UnknownName.among("expert to be merged", str(name), asked)
    for name in asked:
        if name not in shares:
            raise Invalid(f"weights by name leave out {name!r}.")
    return asked, [shares[name] for name in asked]


def _numbers(weights: Any) -> list[float] | None:
    if weights is None:
        return None
    try:
        return [float(w) for w in (weights.split(",") if isinstance(weights, str) else weights)]
    except (TypeError, ValueError) as error:
        raise Invalid(f"--weights takes numbers with commas between them; {weights!r} was given.") from error
