"""`yosegi show NAME`: what a method is, whose paper, its arguments; of a verb, every option."""

from typing import Annotated, Any

import typer

from yosegi import registry
from yosegi.commands._options import Json, say
from yosegi.errors import UnknownName

EXAMPLE = "yosegi show arrow; yosegi show train"


def show(
    name: Annotated[str, typer.Argument(help="A method, such as arrow or routers/arrow, or a verb, such as train.")],
    as_json: Json = False,
) -> None:
    """Print what a method is, whose paper it comes from, and its arguments; of a verb every option, the uncommon ones too."""
    kind, _, alone = name.rpartition("/")
    kinds = [kind] if kind in registry.KINDS else list(registry.KINDS)
    methods = [(k, alone) for k in kinds if alone in registry.names(k)]
    verbs = _verbs()
    if alone in verbs and not kind:
        options = _options(verbs[alone])
        rows = [f"  {option['flags']:44} {option['help']}" for option in options]
        say(options, as_json, "\n".join([f"yosegi {alone}: {(verbs[alone].help or '').splitlines()[0]}", "", *rows]))
        return
    if not methods:
        known = {n for k in registry.KINDS for n in registry.names(k)} | set(verbs)
        raise UnknownName.among("method or verb", name, sorted(known))
    out = [
        {"kind": k, "name": n, "about": registry.about(k, n), "signature": registry.signature(k, n)} for k, n in methods
    ]
    for method in out:
        if method["kind"] == "recipes":
            method["about"] += f"\n\nFields, as --field value:\n\n{registry.fields(method['name'])}"
    say(out, as_json, "\n\n".join(f"{o['kind']}/{o['name']}{o['signature']}\n\n{o['about']}" for o in out))


def _verbs() -> dict[str, Any]:
    """Returns the commands by name, as click knows them."""
    from yosegi.commands import app

    return dict(typer.main.get_command(app()).commands)  # type: ignore[attr-defined]


def _options(verb: Any) -> list[dict[str, str]]:
    """Returns every option of a verb, hidden ones included."""
    return [
        {
            "name": option.name,
            "flags": ", ".join([*option.opts, *option.secondary_opts]),
            "help": getattr(option, "help", "") or "",
        }
        for option in getattr(verb, "params", [])
    ]
