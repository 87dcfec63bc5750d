"""Recipes: one runnable claim a file. `Config` holds its fields, `SMOKE` its smallest version, `main(config, run)` does it.
A recipe may name fields that may be another when a run goes on (`GROWS`).

run_recipe("soups_cat", "runs/soups", smoke=True, seeds=(0, 1))
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_origin

from yosegi import registry
from yosegi.errors import Invalid, UnknownName, in_one_line
from yosegi.run import Run
from yosegi.spec import LISTS, Reader, arguments_of, typed

if TYPE_CHECKING:
    from yosegi.bases import Base


@dataclasses.dataclass(frozen=True)
class OnBase:
    """The fields of every recipe that loads a base; they are those of `bases.load`."""

    base: str = "smollm2"
    dtype: str = "auto"
    device: str = "auto"
    chat_template: str = "auto"

    def load(self) -> "Base":
        """Returns the base."""
        from yosegi.bases import load

        return load(self.base, dtype=self.dtype, device=self.device, chat_template=self.chat_template)


def configure(recipe: str, smoke: bool = False, **fields: Any) -> Any:
    """Returns the Config of a recipe with these fields, as values or as they are written: "0,1" or "[0,1]" is a list.

    Raises:
        UnknownName: the recipe has no such field. Invalid: a field is of another type.
    """
    module = registry.load("recipes", recipe)
    parameters, given = arguments_of(module.Config), dict(fields)
    UnknownName.check(f"field of {recipe}", given, parameters)
    for name, value in given.items():
        if isinstance(value, str) and get_origin(parameters[name].annotation) in LISTS:
            given[name] = Reader(value if value.lstrip()[:1] == "[" else f"[{value}]").value()
    config = dataclasses.replace(module.SMOKE if smoke else module.Config(), **typed(recipe, given, parameters))
    if not getattr(config, "seeds", True):
        raise Invalid(f"{recipe} needs a seed at least (--seeds 0).")
    return config


def run_recipe(recipe: str, path: str | Path | None = None, *, smoke: bool = False, **fields: Any) -> Run:
    """Runs a recipe and writes its page. Interrupted, the same call goes on.

    Args:
        recipe: its name.
        path: the folder of the run; by default one below runs/.
        smoke: the smallest version.
        fields: of its Config.
    """
    from yosegi.reporting import report

    config = configure(recipe, smoke, **fields)
    values: Mapping[str, Any] = {"recipe": recipe, **dataclasses.asdict(config)}
    module = registry.load("recipes", recipe)
    name = f"{recipe}-smoke" if smoke else recipe
    run = Run(path or Path("runs") / name, values, getattr(module, "GROWS", ()))
    with in_one_line():
        module.main(config, run)
    report([run.path], run.path / "report.html")
    return run
