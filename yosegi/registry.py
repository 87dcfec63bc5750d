"""A folder is a registry: yosegi/routers/arrow.py is the router "arrow". There is no list to maintain.

Files are listed without being imported, so `yosegi ls` never loads torch. A name of the form "package.module:Object" belongs to
another package or to a file of the current folder; installed packages add methods through the entry point group "yosegi.<kind>".
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
"""Folders inside a drawer with what its methods share."""


def names(kind: str) -> list[str]:
    """Returns every method of one kind, built in or installed; files that begin with "_" and shared rooms are not methods."""
    ours = {module.name for module in pkgutil.iter_modules([str(HERE / kind)]) if module.name[0] != "_"}
    return sorted((ours - ROOMS) | _plugins(kind).keys())


def find(kind: str, name: str) -> Any:
    """Returns the object of a name: `arrow` -> class Arrow, `svd` -> function svd."""
    if ":" in name:
        module, _, attribute = name.partition(":")
        if (here := str(Path.cwd())) not in sys.path:  # last, so that it hides nothing that is installed
            sys.path.append(here)
        try:
            return getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError, ValueError, TypeError) as error:
            raise Invalid(f"Cannot reach {name!r}: {error}. The form is 'package.module:Object'.") from error
    module = load(kind, name)
    return module if name in _plugins(kind) else getattr(module, name, None) or getattr(module, _class_name(name))


def load(kind: str, name: str) -> Any:
    """Returns the module of a method, or the object of an installed one."""
    UnknownName.check(kind.removesuffix("s"), [name], names(kind))
    plugin = _plugins(kind).get(name)
    return plugin.load() if plugin else importlib.import_module(f"yosegi.{kind}.{name}")


def about(kind: str, name: str) -> str:
    """Returns a method's module docstring, read without importing it ("" for an installed one)."""
    UnknownName.check(kind.removesuffix("s"), [name], names(kind))
    return ast.get_docstring(ast.parse(_source(kind, name))) or ""


def fields(recipe: str) -> str:
    """Returns the fields of a recipe's Config as its file has them; "" for an installed one."""
    text = _source("recipes", recipe)
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef) and node.name == "Config":
            return "\n".join(text.splitlines()[node.body[0].lineno : node.end_lineno]).strip("\n")
    return ""


def signature(kind: str, name: str) -> str:
    """Returns a method's arguments as its file has them, read without importing it ("" for an installed one)."""
    for node in ast.parse(_source(kind, name)).body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return f"({ast.unparse(node.args)})"
        if isinstance(node, ast.ClassDef) and node.name == _class_name(name):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef) and inner.name == "__init__":
                    return "(" + ast.unparse(inner.args).removeprefix("self").removeprefix(", ") + ")"
            return "()"
    return ""


def _source(kind: str, name: str) -> str:
    """Returns the text of a method's file; "" for an installed one."""
    paths = (HERE / kind / f"{name}.py", HERE / kind / name / "__init__.py")
    return next((path.read_text(encoding="utf-8") for path in paths if path.exists()), "")


def _class_name(name: str) -> str:
    return name.title().replace("_", "")


@cache
def _plugins(kind: str) -> dict[str, importlib.metadata.EntryPoint]:
    """Returns what installed packages add to a drawer. Reading their metadata takes long enough to be done once."""
    return {plugin.name: plugin for plugin in _entry_points().select(group=f"yosegi.{kind}")}


@cache
def _entry_points() -> importlib.metadata.EntryPoints:
    return importlib.metadata.entry_points()  # type: ignore[return-value]
