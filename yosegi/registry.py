"""A folder is a registry: yosegi/routers/arrow.py is the router "arrow". There is no list to keep in step.

Files are found without being imported, so `yosegi ls` never loads torch. A name of the form
"package.module:Object" reaches outside; installed packages join through the entry point group "yosegi.<kind>".
"""

import ast
import importlib
import importlib.metadata
import pkgutil
import sys
from functools import cache
from pathlib import Path
from typing import Any

from yosegi.errors import Invalid, UnknownName

HERE = Path(__file__).parent

KINDS = (
    "bases",
    "inits",
    "masks",
    "merges",
    "objectives",
    "optimizers",
    "partitions",
    "recipes",
    "rewards",
    "routers",
    "scores",
    "tasks",
    "teachers",
)

ROOMS = {"readers"}
"""Folders inside a drawer that hold what its methods share."""


def names(kind: str) -> list[str]:
    """Every method of one kind, built in or installed. A file that begins with "_" and a room that methods share are none."""
    ours = [module.name for module in pkgutil.iter_modules([str(HERE / kind)]) if module.name[0] != "_"]
    ours = [name for name in ours if name not in ROOMS]
    return sorted({*ours, *(plugin.name for plugin in _plugins(kind))})


def find(kind: str, name: str) -> Any:
    """The object a name stands for: `arrow` -> class Arrow, `svd` -> function svd."""
    if ":" in name:
        return _outside(name)
    for plugin in _plugins(kind):
        if plugin.name == name:
            return plugin.load()
    module = load(kind, name)
    return getattr(module, name, None) or getattr(module, name.title().replace("_", ""))


def load(kind: str, name: str) -> Any:
    """The module of a method: what a recipe or a base is."""
    if name not in names(kind):
        raise UnknownName.among(kind.removesuffix("s"), name, names(kind))
    for plugin in _plugins(kind):
        if plugin.name == name:
            return plugin.load()
    return importlib.import_module(f"yosegi.{kind}.{name}")


def about(kind: str, name: str) -> str:
    """A method's own words, its module docstring, read without importing it ("" for an installed one)."""
    if name not in names(kind):
        raise UnknownName.among(kind.removesuffix("s"), name, names(kind))
    for path in (HERE / kind / f"{name}.py", HERE / kind / name / "__init__.py"):
        if path.exists():
            return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return ""


def fields(recipe: str) -> str:
    """The fields of a recipe's Config with their defaults and comments, as its file has them; "" for an installed one."""
    path = HERE / "recipes" / f"{recipe}.py"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef) and node.name == "Config":
            return "\n".join(text.splitlines()[node.body[0].lineno : node.end_lineno]).strip("\n")
    return ""


@cache
def _plugins(kind: str) -> tuple[importlib.metadata.EntryPoint, ...]:
    """What installed packages add to a drawer. Asking every package takes long enough to be done once."""
    return tuple(_entry_points().select(group=f"yosegi.{kind}"))


@cache
def _entry_points() -> importlib.metadata.EntryPoints:
    return importlib.metadata.entry_points()  # type: ignore[return-value]


def _outside(name: str) -> Any:
    module, _, attribute = name.partition(":")
    if (here := str(Path.cwd())) not in sys.path:  # last, so that it hides nothing that is installed
        sys.path.append(here)
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise Invalid(f"Cannot reach {name!r}: {error}. The form is 'package.module:Object'.") from error


def signature(kind: str, name: str) -> str:
    """A method's arguments as it writes them, read without importing it ("" where there are none to see)."""
    for path in (HERE / kind / f"{name}.py", HERE / kind / name / "__init__.py"):
        if path.exists():
            wanted = (name, name.title().replace("_", ""))
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.FunctionDef) and node.name in wanted:
                    return f"({ast.unparse(node.args)})"
                if isinstance(node, ast.ClassDef) and node.name in wanted:
                    for inner in node.body:
                        if isinstance(inner, ast.FunctionDef) and inner.name == "__init__":
                            return "(" + ast.unparse(inner.args).removeprefix("self").removeprefix(", ") + ")"
                    return "()"
    return ""
