"""Flags from a settings class: names, types, defaults and help are written once, in the class.

    @flags("training/settings.py", "Settings", panel="Training")
    def train(task: Words, …, **options: Any) -> None:        options holds the settings that were given, by field name

A field's flag is its name with dashes, its help the docstring below it. A field marked `"common": True` is shown by `--help`; the
others work as well and are listed by `yosegi show VERB`. Values are checked by the class itself.
"""

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from yosegi.commands._fields import Flag, fields_of
from yosegi.errors import shown


def flags(file: str, name: str, panel: str = "Settings") -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a verb the flags of a settings class; its `**options` then holds what was given on the command line."""

    def decorate(verb: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(verb)
        known = {key: flag for key, flag in fields_of(file, name).items() if key not in signature.parameters}
        declared = [
            p.replace(kind=p.KEYWORD_ONLY) for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD
        ]
        added = [
            inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_annotation(flag, panel))
            for key, flag in known.items()
        ]

        def run(**values: Any) -> None:
            given = {key: value for key in known if (value := values.pop(key, None)) is not None and value != []}
            verb(**values, **{key: _structured(known[key], value) for key, value in given.items()})

        run.__name__, run.__doc__, run.__module__ = verb.__name__, verb.__doc__, verb.__module__
        run.__signature__ = signature.replace(parameters=declared + added)  # type: ignore[attr-defined]
        run.settings = (file, name)  # type: ignore[attr-defined]
        return run

    return decorate


def _annotation(flag: Flag, panel: str) -> Any:
    default = "" if flag.default in ("", "None", "{}", "[]") else f" \\[{flag.default}]"
    dashed = "--" + flag.name.replace("_", "-")
    declared = f"{dashed}/--no-{dashed[2:]}" if flag.kind is bool else dashed
    option = typer.Option(declared, help=(flag.help + default).strip(), hidden=not flag.common, rich_help_panel=panel)
    return Annotated[flag.kind | None, option]  # type: ignore[valid-type]


def _structured(flag: Flag, value: Any) -> Any:
    """Text as YAML where a field takes more than text: `q_proj,v_proj` is a list, `{a: 1}` a dictionary."""
    if not flag.structured or not isinstance(value, str):
        return value
    from yosegi.untrusted import read_yaml

    place = f"--{flag.name.replace('_', '-')} {shown(value)}"
    read = read_yaml(value if value.lstrip()[:1] in ("[", "{") or "," not in value else f"[{value}]", place)
    return [read] if flag.structured.startswith("list") and not isinstance(read, list) else read
