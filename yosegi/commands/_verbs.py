"""A folder of files as a group of verbs: one verb a file, named as the file is."""

import importlib
import pkgutil
from collections.abc import Iterable
from typing import Any

import typer
import typer.core

PANELS = {
    "Start": ("demo", "doctor", "ls", "show"),
    "Train": ("data", "train", "reinforce", "train-router", "label", "curate", "terms"),
    "Combine": ("library", "merge", "search"),
    "Ask": ("generate", "chat", "serve"),
    "Judge": ("eval", "report", "run", "cite"),
    "Give": ("export", "push", "pull"),
}
"""The verbs in the order in which `yosegi --help` lists them: from a first try to a finished report."""


class ByWorkflow(typer.core.TyperGroup):
    """Lists the verbs by workflow, not by alphabet; an installed verb that no panel names comes last."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Returns the names in the order of `PANELS`."""
        order = [name for names in PANELS.values() for name in names]
        return sorted(
            super().list_commands(ctx), key=lambda name: (order.index(name) if name in order else len(order), name)
        )


def verbs(folder: Iterable[str], package: str, panels: bool = False, **options: Any) -> typer.Typer:
    """Returns the verbs of a package. A module with an `app` of its own is a verb with verbs below it.

    Args:
        folder: the package's `__path__`.
        package: its name.
        panels: whether the help is in panels.
        options: of Typer.
    """
    group = typer.Typer(no_args_is_help=True, context_settings={"token_normalize_func": _our_name}, **options)
    panel_of = {name: panel for panel, names in PANELS.items() for name in names}
    for module in pkgutil.iter_modules(folder):
        if module.name[0] == "_":
            continue
        verb, name = importlib.import_module(f"{package}.{module.name}"), module.name.strip("_").replace("_", "-")
        panel: dict[str, Any] = {"rich_help_panel": panel_of.get(name, "Other")} if panels else {}
        if hasattr(verb, "app"):
            group.add_typer(verb.app, name=name, **panel)
            continue
        function = getattr(verb, module.name, None) or getattr(verb, f"{module.name}_")
        example, settings = getattr(verb, "EXAMPLE", None), getattr(verb, "CONTEXT", None)
        epilog = example and f"Example: {example}"
        group.command(name, context_settings=settings, epilog=epilog, **panel)(function)
    return group


def _our_name(token: str) -> str:
    """Returns the name of an option as it is here: users of TRL write underscores, and --model_name_or_path."""
    name = token.replace("_", "-")
    return "base" if name == "model-name-or-path" else name
