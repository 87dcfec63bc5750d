"""The fields of a settings class, read from its source and not imported, so that `--help` stays instant."""

import ast
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

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
    fields: dict[str, Flag] = {}
    for base in classes[name].bases:
        if isinstance(base, ast.Name) and base.id in classes:
            fields |= fields_of(file, base.id)
        elif isinstance(base, ast.Name) and base.id == "LoadSettings":  # what every verb that loads a base has
            fields |= fields_of("bases/_options.py", base.id)
    body = classes[name].body
    for node, following in zip(body, [*body[1:], None], strict=True):
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        annotation = ast.unparse(node.annotation)
        if annotation.startswith("ClassVar"):
            continue
        field, inherited = node.target.id, fields.get(node.target.id)
        text = ast.unparse(node.value) if node.value is not None else ""
        common = "'common': True" in text or bool(inherited and inherited.common and "'common'" not in text)
        if isinstance(node.value, ast.Call):  # Field(default=…, ge=…)
            given = {word.arg: ast.unparse(word.value) for word in node.value.keywords}
            text = given.get(
                "default", given.get("default_factory", ast.unparse(node.value.args[0]) if node.value.args else "")
            )
        words = _docstring(following) or (inherited.help if inherited else "")
        if annotation == "None":  # a subclass has no use for this setting
            fields.pop(field, None)
            continue
        single = annotation.removesuffix(" | None")
        structured = "" if single in PLAIN or single.startswith("Literal") else single
        if (
            single.startswith("Literal")
            and (choices := ", ".join(str(c) for c in ast.literal_eval(single[7:]))) not in words
        ):
            words = f"{words} One of {choices}." if words else f"One of {choices}."
        fields[field] = Flag(field, PLAIN.get(single, str), text.strip("'\""), words, common, structured)
    return fields


def _docstring(node: ast.stmt | None) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return " ".join(node.value.value.split())
    return ""
