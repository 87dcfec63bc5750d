"""`yosegi run RECIPE`: one claim of one paper, end to end."""

import contextlib
import dataclasses
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from yosegi import registry
from yosegi.commands._options import Data, Json, RunDir, begin, read_config, say
from yosegi.errors import Invalid, UnknownName, in_one_line

CONTEXT = {"allow_extra_args": True, "ignore_unknown_options": True}


def run(
    context: typer.Context,
    recipe: Annotated[str, typer.Argument(help="As `yosegi ls recipes` names it.")],
    config: Annotated[Path | None, typer.Option(help="A YAML file with the recipe's fields.")] = None,
    smoke: Annotated[bool, typer.Option("--smoke", help="The smallest version, on a CPU: seconds to minutes.")] = False,
    folder: RunDir = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Run a recipe. Any of its fields may be given as --field value; `yosegi show RECIPE` tells them."""
    begin(data, as_json)
    module = registry.load("recipes", recipe)
    start = module.SMOKE if smoke else module.Config()
    given = read_config(config, _fields(context.args, module.Config))
    known = {field.name: field for field in dataclasses.fields(module.Config)}
    for name, value in given.items():
        if name not in known:
            raise UnknownName.among(f"field of {recipe}", name, known)
        given[name] = _typed(recipe, name, value, getattr(start, name))
    resolved = dataclasses.replace(start, **given)
    if not getattr(resolved, "seeds", True):
        raise Invalid(f"{recipe} needs a seed at least (--seeds 0).")

    from yosegi.reporting import report
    from yosegi.run import Run

    where = Run(folder or Path("runs") / (f"{recipe}-smoke" if smoke else recipe))
    values = {"recipe": recipe, **dataclasses.asdict(resolved)}
    where = Run(where.path, values)
    with contextlib.redirect_stdout(sys.stderr if as_json else sys.stdout), in_one_line():  # a recipe prints for people
        module.main(resolved, where)
        print(f"Open {report([where.path], where.path / 'report.html')}")
    say({"run": str(where.path), "config": values}, as_json, f"Done: {where.path}")


def _fields(words: list[str], config: Any) -> dict[str, str]:
    """`--field value` and `--field=value` pairs."""
    found, rest = {}, list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--"):
            raise Invalid(f"{word!r} is no option. Fields of a recipe are given as --field value.")
        name, equals, value = word[2:].partition("=")
        if not equals:
            if not rest:
                raise Invalid(f"--{name} needs a value.")
            value = rest.pop(0)
        found[name.replace("-", "_")] = value
    return found


def _typed(recipe: str, name: str, value: Any, default: Any) -> Any:
    """A field's value in the type of its default; words are read as YAML, a list may go without its brackets."""
    said = f"{recipe}: {name} is {_called(default)}; {{!r}} was given."
    if isinstance(default, tuple):
        if isinstance(value, str):
            inside = value.strip().removeprefix("[").removesuffix("]")
            texts = default and isinstance(default[0], str)
            value = [p.strip() for p in inside.split(",") if p.strip()] if texts else _read(f"[{inside}]", said)
        every = value if isinstance(value, list | tuple) else [value]
        every = tuple(_number(part, default[0]) if default else part for part in every)
        if wrong := [part for part in every if default and type(part) is not type(default[0])]:
            raise Invalid(said.format(wrong[0]))
        return every
    if isinstance(value, str) and not isinstance(default, str):
        value = _read(value, said)
    value = _number(value, default)
    if default is not None and type(value) is not type(default):
        raise Invalid(said.format(value))
    return value


def _read(text: str, said: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise Invalid(said.format(text)) from error


def _number(value: Any, like: Any) -> Any:
    """A float where one is wanted: YAML reads 1 as a whole number, and 1e-4 as a word."""
    if isinstance(like, float) and isinstance(value, int | str) and not isinstance(value, bool):
        with contextlib.suppress(ValueError):
            return float(value)
    return value


def _called(default: Any) -> str:
    """The type of a field, for people."""
    if isinstance(default, tuple):
        return f"a list{f', and each of it {_called(default[0])}' if default else ''}"
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
    return names.get(type(default), "something else")
