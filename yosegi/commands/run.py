"""`yosegi run RECIPE`: one claim of one paper, end to end."""

import contextlib
import sys
from pathlib import Path
from typing import Annotated

import typer

from yosegi.commands._config import read_config
from yosegi.commands._options import Data, Json, ReportTo, RunDir, begin, say
from yosegi.errors import Invalid

CONTEXT = {"allow_extra_args": True, "ignore_unknown_options": True}


def run(
    context: typer.Context,
    recipe: Annotated[str, typer.Argument(help="As `yosegi ls recipes` names it.")],
    config: Annotated[Path | None, typer.Option(help="A YAML file with the recipe's fields.")] = None,
    smoke: Annotated[bool, typer.Option("--smoke", help="The smallest version, on a CPU: seconds to minutes.")] = False,
    folder: RunDir = None,
    report_to: ReportTo = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Run a recipe. Any of its fields may be given as --field value; `yosegi show RECIPE` lists them."""
    begin(data, as_json)
    from yosegi import files
    from yosegi.recipes import run_recipe
    from yosegi.trackers import report_to as reporting

    fields = read_config(config, _fields(context.args))
    shown = sys.stderr if as_json else sys.stdout  # a recipe prints for people
    with contextlib.redirect_stdout(shown), reporting(report_to or []):
        done = run_recipe(recipe, folder, smoke=smoke, **fields)
        print(f"Open {done.path / 'report.html'}")
    say({"run": str(done.path), "config": files.read_json(done.path / "config.json")}, as_json, f"Done: {done.path}")


def _fields(words: list[str]) -> dict[str, str]:
    """Reads `--field value` and `--field=value` pairs."""
    fields, rest = {}, list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--"):
            raise Invalid(f"{word!r} is no option. Fields of a recipe are given as --field value.")
        name, equals, value = word[2:].partition("=")
        if not equals:
            if not rest:
                raise Invalid(f"--{name} needs a value.")
            value = rest.pop(0)
        fields[name.replace("-", "_")] = value
    return fields
