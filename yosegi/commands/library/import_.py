"""`yosegi library import`: an expert of another library, or a LoRA that PEFT wrote."""

from pathlib import Path
from typing import Annotated

import typer

from yosegi.commands._options import Folder, Overwrite, begin


def import_(
    library: Folder,
    folder: Annotated[Path, typer.Argument(help="A folder with adapter_config.json and adapter_model.safetensors.")],
    name: Annotated[str | None, typer.Option(help="By default the folder's.")] = None,
    initial: Annotated[Path | None, typer.Option(help="The initial factors of a PiSSA or OLoRA adapter.")] = None,
    base: Annotated[str | None, typer.Option(help="Its base, to check the shapes and note the hash.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Take in an expert: a folder of another library, or a LoRA that PEFT wrote. What cannot be right is refused."""
    begin()
    from yosegi.library.exchange import import_expert
    from yosegi.library.store import Library

    model = None
    if base is not None:
        from yosegi.bases import load

        model = load(base)
    target = Library(library, model and model.hash, model and model.name)
    expert = import_expert(target, folder, name, initial=initial, model=model and model.model, overwrite=overwrite)
    print(f"{expert.name}: rank {expert.rank}, {len(expert.factors)} linears, in {library}")
    if not target.card(expert.name).get("base_hash"):
        print("Its card names no base, so it cannot be used yet: import it again with --base NAME --overwrite.")
