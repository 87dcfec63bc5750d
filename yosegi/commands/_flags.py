"""Flags from a settings class: names, types, defaults and help are written once, in the class.

    @flags("training/settings.py", "Settings", panel="Training")
    def train(task: Tasks, …, **options: Any) -> None:        options holds the settings that were given, by field name

The class is read as source, not imported, so that `--help` stays instant. A field's flag is its name with dashes, its help the
docstring below it. A field marked `"common": True` is shown by `--help`; the others work as well and are listed by
`yosegi show VERB`. Values are checked by the class itself.
"""

import ast
import inspect
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from yosegi.errors import Invalid

PACKAGE = Path(__file__).parents[1]
PLAIN: dict[str, Any] = {"int": int, "float": float, "str": str, "bool": bool, "list[str]": list[str]}


class Flag(NamedTuple):
    """One field of a settings class, as a flag.

    Args:
        name: the field's.
        kind: int, float, bool, list[str] for a flag that may be repeated, or str for everything that is written as text.
        default: as the source writes it; "" where there is none.
        help: the docstring of the field.
        common: whether `--help` shows it.
        structured: its type, where its text is read as YAML (a list, a dictionary, or several types).
    """

    name: str
    kind: Any
    default: str
    help: str
    common: bool
    structured: str


@cache
def fields_of(file: str, name: str) -> dict[str, Flag]:
    """Returns the fields of a class of the package, those of its bases in the same file first; nothing is imported."""
    tree = ast.parse((PACKAGE / file).read_text(encoding="utf-8"))
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    found: dict[str, Flag] = {}
    for base in classes[name].bases:
        if isinstance(base, ast.Name) and base.id in classes:
            found |= fields_of(file, base.id)
        elif isinstance(base, ast.Name) and base.id == "LoadSettings":  # what every verb that loads a base has
            found |= fields_of("bases/_options.py", base.id)
    body = classes[name].body
    for node, following in zip(body, [*body[1:], None], strict=True):
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        annotation = ast.unparse(node.annotation)
        if annotation.startswith("ClassVar"):
            continue
        field, inherited = node.target.id, found.get(node.target.id)
        text = ast.unparse(node.value) if node.value is not None else ""
        common = "'common': True" in text or bool(inherited and inherited.common and "'common'" not in text)
        if isinstance(node.value, ast.Call):  # Field(default=…, ge=…)
            given = {word.arg: ast.unparse(word.value) for word in node.value.keywords}
            text = given.get(
                "default", given.get("default_factory", ast.unparse(node.value.args[0]) if node.value.args else "")
            )
        words = _docstring(following) or (inherited.help if inherited else "")
        if annotation == "None":  # a subclass has no use for this setting
            found.pop(field, None)
            continue
        single = annotation.removesuffix(" | None")
        structured = "" if single in PLAIN or single.startswith("Literal") else single
        if (
            single.startswith("Literal")
            and (choices := ", ".join(str(c) for c in ast.literal_eval(single[7:]))) not in words
        ):
            words = f"{words} One of {choices}." if words else f"One of {choices}."
        found[field] = Flag(field, PLAIN.get(single, str), text.strip("'\""), words, common, structured)
    return found


def flags(file: str, name: str, panel: str = "Settings") -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a verb the flags of a settings class; its `**options` then holds what was given on the command line."""

    def decorate(verb: Callable[..., None]) -> Callable[..., None]:
        signature, known = inspect.signature(verb), fields_of(file, name)
        own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        added = [
            inspect.Parameter(
                flag.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_annotation(flag, panel)
            )
            for flag in known.values()
            if flag.name not in signature.parameters
        ]

        def run(**values: Any) -> None:
            options = {
                flag.name: values.pop(flag.name, None)
                for flag in known.values()
                if flag.name not in signature.parameters
            }
            given = {key: value for key, value in options.items() if value is not None and value != []}
            verb(**values, **{key: _structured(known[key], value) for key, value in given.items()})

        run.__name__, run.__doc__, run.__module__ = verb.__name__, verb.__doc__, verb.__module__
        run.__signature__ = signature.replace(parameters=[p.replace(kind=p.KEYWORD_ONLY) for p in own] + added)  # type: ignore[attr-defined]
        run.settings = (file, name)  # type: ignore[attr-defined]
        return run

    return decorate


def _annotation(flag: Flag, panel: str) -> Any:
    default = "" if flag.default in ("", "None", "{}", "[]") else f" \\[{flag.default}]"
    dashed = "--" + flag.name.replace("_", "-")
    words = [dashed, f"--no-{dashed[2:]}"] if flag.kind is bool else [dashed]
    declared = ["/".join(words), *(["--" + flag.name] if "_" in flag.name else [])]  # TRL's users write underscores
    option = typer.Option(*declared, help=(flag.help + default).strip(), hidden=not flag.common, rich_help_panel=panel)
    return Annotated[flag.kind | None, option]  # type: ignore[valid-type]


def _structured(flag: Flag, value: Any) -> Any:
    """Text as YAML where a field takes more than text: `q_proj,v_proj` is a list, `{a: 1}` a dictionary."""
    if not flag.structured or not isinstance(value, str):
        return value
    import yaml

    try:
        read = yaml.safe_load(value if value.lstrip()[:1] in ("[", "{") or "," not in value else f"[{value}]")
    except yaml.YAMLError as error:
        raise Invalid(f"--{flag.name.replace('_', '-')} {value!r} is not valid YAML.") from error
    return [read] if flag.structured.startswith("list") and not isinstance(read, list) else read


def _docstring(node: ast.stmt | None) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return " ".join(node.value.value.split())
    return ""
