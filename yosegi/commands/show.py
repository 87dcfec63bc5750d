"""`yosegi show NAME`: what a method is, whose paper, its arguments."""

from typing import Annotated

import typer

from yosegi import registry
from yosegi.commands._options import Json, say
from yosegi.errors import UnknownName


def show(
    name: Annotated[str, typer.Argument(help="A method, such as arrow or routers/arrow.")], as_json: Json = False
) -> None:
    """What a method is, whose paper it comes from, and its arguments."""
    kind, _, alone = name.rpartition("/")
    kinds = [kind] if kind in registry.KINDS else list(registry.KINDS)
    found = [(k, alone) for k in kinds if alone in registry.names(k)]
    if not found:
        raise UnknownName.among("method", name, sorted({n for k in registry.KINDS for n in registry.names(k)}))
    out = []
    for k, method in found:
        signature = registry.signature(k, method)
        out.append({"kind": k, "name": method, "about": registry.about(k, method), "signature": signature})
    say(out, as_json, "\n\n".join(f"{o['kind']}/{o['name']}{o['signature']}\n\n{o['about']}" for o in out))
