"""`yosegi library cluster`: which experts are alike (MBC)."""

from pathlib import Path
from typing import Annotated, Any

import typer

from yosegi.commands._options import ABase, ExpertNames, Folder, Json, begin, say, table
from yosegi.errors import Invalid


def cluster(
    library: Folder = Path("library"),
    names: ExpertNames = None,
    k: Annotated[
        int | None, typer.Option("--k", "-k", help="How many clusters (10; with --sweep alone, none).")
    ] = None,
    space: Annotated[
        str,
        typer.Option(help="factors, as in the paper; moved: how far these moved (needs --base); delta: what they do."),
    ] = "factors",
    sparsity: Annotated[float, typer.Option(help="Share of an expert's entries that are set to 0 (factors).")] = 0.5,
    components: Annotated[int, typer.Option(help="Components of the truncated SVD (factors).")] = 64,
    seed: Annotated[int, typer.Option(help="Seed of k-means.")] = 42,
    base: ABase = None,
    sweep: Annotated[str | None, typer.Option(help="Compare several k, as in 2,5,10,25.")] = None,
    figure: Annotated[Path | None, typer.Option(help="Draw the cosines, sorted by cluster, into this PNG.")] = None,
    as_json: Json = False,
) -> None:
    """Cluster the experts: their groups, and how well these are told apart."""
    begin(None, as_json)
    from yosegi.library.store import Library
    from yosegi.partitions import by_cluster as mbc

    ks = [] if sweep is None else _numbers(sweep)
    folder = Library(library)
    experts = folder.load(names or folder.originals())
    options: dict[str, Any] = {"space": space, "sparsity": sparsity, "components": components, "seed": seed}
    if space == "moved":
        from yosegi.bases import load
        from yosegi.inits import start_of
        from yosegi.library.card import check_base

        loaded = load(base or "nano")
        for expert in experts:
            check_base(expert, loaded.name, loaded.hash)
        options["start"] = start_of(loaded.model, experts[0])
    result: dict[str, Any] = {}
    if k is not None or figure is not None or not ks:
        result = mbc.cluster(experts, 10 if k is None else k, **options)
    if ks:
        result["sweep"] = mbc.sweep(experts, ks, **options)
    if figure is not None:
        from yosegi.reporting.clusters import draw

        draw(result, figure)
    if as_json:
        say(result, True)
        return
    head = f"{library}: {len(experts)} experts by {space}"  # a table would break it to its own width
    if "clusters" in result:
        rows = [[name, str(len(members)), ", ".join(members)] for name, members in result["clusters"].items()]
        print(f"{head}, k={result['k']}, silhouette {_cell(result['silhouette'])}")
        table("", ["cluster", "experts", "members"], rows)
    if ks:
        cells = [[str(row["k"]), _cell(row["silhouette"]), _cell(row["inertia"])] for row in result["sweep"]]
        sizes = [" ".join(map(str, row["sizes"])) for row in result["sweep"]]
        print(head)
        table("", ["k", "silhouette", "inertia", "sizes"], [[*c, s] for c, s in zip(cells, sizes, strict=True)])


def _numbers(text: str) -> list[int]:
    try:
        return [int(k) for k in text.split(",")]
    except ValueError as error:
        raise Invalid(f"--sweep takes whole numbers with commas between them; {text!r} was given.") from error


def _cell(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"
