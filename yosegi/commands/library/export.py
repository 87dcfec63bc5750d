"""`yosegi library export`: an expert as PEFT and vLLM load it."""

from pathlib import Path
from typing import Annotated

import typer

from yosegi.commands._options import ExpertName, Folder


def export(
    library: Folder,
    name: ExpertName,
    to: Annotated[Path, typer.Argument(help="The folder to write.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
) -> None:
    """Write an expert as a PEFT adapter: `PeftModel.from_pretrained(base, FOLDER)` and vLLM load it."""
    from yosegi.library.exchange import export_expert
    from yosegi.library.store import Library

    export_expert(Library(library), name, to, overwrite=overwrite)
    print(f"{name}: {to}")
