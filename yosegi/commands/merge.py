"""`yosegi merge`: many experts of a library -> one."""

from pathlib import Path
from typing import Annotated, Any

import typer

from yosegi.commands._options import Json, LibraryDir, begin, read_config, say
from yosegi.errors import Invalid


def merge(
    experts: Annotated[list[str] | None, typer.Argument(help="Names in the library; by default all.")] = None,
    library: LibraryDir = Path("library"),
    method: Annotated[str | None, typer.Option(help="As `yosegi ls merges` names it (svd).")] = None,
    weights: Annotated[
        str | None, typer.Option(help="One an expert, with commas; by default 1/E each (task_arithmetic: 1).")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Of the result (merged).")] = None,
    rank: Annotated[int | None, typer.Option(help="Of the result, for methods that cut.", min=1)] = None,
    config: Annotated[Path | None, typer.Option(help="A YAML file with these settings.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an expert of the same name.")] = False,
    as_json: Json = False,
) -> None:
    """Merge experts into one and put it into the library, with its recipe, its parents and its error."""
    begin(None, as_json)
    from yosegi.library.store import Library
    from yosegi.merges import merge as merge_experts

    said: dict[str, Any] = read_config(
        config,
        {"experts": experts, "method": method, "weights": weights, "name": name, "rank": rank},
    )
    if unknown := set(said) - {"experts", "method", "weights", "name", "rank"}:
        raise Invalid(f"Unknown setting {sorted(unknown)[0]!r} in {config}.")
    shelf = Library(library)
    loaded = shelf.load(said.get("experts") or None)
    result = merge_experts(
        loaded,
        said.get("method", "svd"),
        _numbers(said.get("weights")),
        said.get("name", "merged"),
        **({"rank": said["rank"]} if "rank" in said else {}),
    )
    shelf.add(result, overwrite=overwrite)
    card = shelf.card(result.name)
    error = card["relative_error"]
    say(
        card,
        as_json,
        f"{result.name}: {len(loaded)} experts by {said.get('method', 'svd')}, rank {card['rank']}, relative error {error:.4f}",
    )


def _numbers(weights: Any) -> list[float] | None:
    if weights is None:
        return None
    try:
        return [float(w) for w in (weights.split(",") if isinstance(weights, str) else weights)]
    except (TypeError, ValueError) as error:
        raise Invalid(f"--weights takes numbers with commas between them; {weights!r} was given.") from error
