"""A folder is a registry: yosegi/routers/arrow.py is the router "arrow". There is no list to keep in step.

Files are found without being imported, so `yosegi ls` never loads torch. A name of the form
"package.module:Object" reaches outside; installed packages join through the entry point group "yosegi.<kind>".
"""

import ast
import importlib
import importlib.metadata
import pkgutil
from pathlib import Path
from typing import Any

from yosegi.errors import Invalid, UnknownName

HERE = Path(__file__).parent

KINDS = ("bases", "inits", "masks", "merges", "objectives", "optimizers", "recipes", "routers", "tasks")


def names(kind: str) -> list[str]:
    """Every method of one kind, built in or installed. A file that begins with "_" is not a method."""
    ours = [module.name for module in pkgutil.iter_modules([str(HERE / kind)]) if module.name[0] != "_"]
    return sorted({*ours, *(plugin.name for plugin in importlib.metadata.entry_points(group=f"yosegi.{kind}"))})


def find(kind: str, name: str) -> Any:
    """The object a name stands for: `arrow` -> class Arrow, `svd` -> function svd."""
    if ":" in name:
        return _outside(name)
    for plugin in importlib.metadata.entry_points(group=f"yosegi.{kind}", name=name):
        return plugin.load()
    module = load(kind, name)
    return getattr(module, name, None) or getattr(module, name.title().replace("_", ""))


def load(kind: str, name: str) -> Any:
    """The module of a built-in method: what a recipe or a base is."""
    if name not in names(kind):
        raise UnknownName.among(kind.removesuffix("s"), name, names(kind))
    return importlib.import_module(f"yosegi.{kind}.{name}")


def about(kind: str, name: str) -> str:
    """A method's own words, its module docstring, read without importing it ("" for an installed one)."""
    if name not in names(kind):
        raise UnknownName.among(kind.removesuffix("s"), name, names(kind))
    for path in (HERE / kind / f"{name}.py", HERE / kind / name / "__init__.py"):
        if path.exists():
            return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return ""


def _outside(name: str) -> Any:
    module, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise Invalid(f"Cannot reach {name!r}: {error}. The form is 'package.module:Object'.") from error
