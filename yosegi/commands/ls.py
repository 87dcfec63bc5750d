"""`yosegi ls`: what there is."""

import shutil
from typing import Annotated

import typer

from yosegi import registry
from yosegi.commands._options import Json, say
from yosegi.errors import UnknownName


def ls(
    kind: Annotated[str | None, typer.Argument(help="One drawer, such as routers.")] = None, as_json: Json = False
) -> None:
    """What there is: the methods of every drawer, or of one."""
    if kind is not None and kind not in registry.KINDS:
        raise UnknownName.among("drawer", kind, registry.KINDS)
    kinds = [kind] if kind else list(registry.KINDS)
    drawers = {k: {name: registry.about(k, name).partition("\n")[0] for name in registry.names(k)} for k in kinds}
    if as_json:
        say(drawers, True)
        return
    room = shutil.get_terminal_size((160, 40)).columns
    for k, methods in drawers.items():
        wide = max(map(len, methods), default=0)
        print(k, *(f"  {name:{wide}}  {about}"[:room] for name, about in methods.items()), sep="\n", end="\n\n")
