"""Every argument of every method can be set by a spec, and arrives as its type says: the drawers are walked."""

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import pytest

from yosegi import registry
from yosegi.spec import OPTIMIZER, PASSED, arguments, parse_method, write_method

KINDS = (
    "routers",
    "merges",
    "optimizers",
    "tasks",
    "scores",
    "inits",
    "masks",
    "objectives",
    "rewards",
    "teachers",
    "partitions",
)
OBJECTS = {
    "objectives/balance": {"constraint", "whole_L3", "note"}, "masks/importance": {"scores"},
    "partitions/by_cluster": {"experts", "start"}, "partitions/by_score": {"score"}, "partitions/by_system": {"teachers", "systems"},
    "optimizers/adamw": {"weight_decay"},
}  # fmt: skip
"""Arguments that no text can be: a machine passes them."""
METHODS = [(kind, name) for kind in KINDS for name in registry.names(kind)]


def example(hint):
    """A value of this type."""
    if get_origin(hint) in (Union, type(int | str)):
        return example(next(option for option in get_args(hint) if option is not type(None)))
    if get_origin(hint) is Literal:
        return get_args(hint)[-1]
    if get_origin(hint) is tuple:
        return tuple(example(one) for one in get_args(hint) if one is not ...)
    if get_origin(hint) in (list, Sequence):
        return (example(get_args(hint)[0]),) * 2 if get_origin(hint) is Sequence else [example(get_args(hint)[0])] * 2
    if get_origin(hint) is Mapping:
        return {"key": example(get_args(hint)[1])}
    return {int: 3, float: 0.25, str: "a, b", bool: True, Path: Path("a/b c.jsonl"), Any: 7}[hint]


@pytest.mark.parametrize(("kind", "name"), METHODS)
def test_every_argument_is_settable(kind, name):
    make = registry.find(kind, name)
    known = arguments(kind, name)
    every = list(inspect.signature(make).parameters)[0 if inspect.isclass(make) else PASSED.get(kind, 0) :]
    every = [key for key in every if kind != "optimizers" or key not in OPTIMIZER]
    missing = set(every) - set(known) - OBJECTS.get(f"{kind}/{name}", set())
    assert not missing, f"{kind}/{name}: {missing} cannot be written in a spec"
    given = {key: example(parameter.annotation) for key, parameter in known.items()}
    assert parse_method(kind, write_method(name, given)) == (name, given)
    defaults = {key: p.default for key, p in known.items() if p.default is not p.empty}
    _, result = parse_method(kind, write_method(name, defaults))
    assert result == {key: value for key, value in defaults.items()}, "a default is of the argument's own type"


def test_the_drawers_were_walked():
    assert len(METHODS) >= 75
    assert sum(len(arguments(*method)) for method in METHODS) >= 90


@pytest.mark.parametrize("name", registry.names("routers"))
def test_a_router_keeps_what_its_spec_says(name):
    """A router is its own config: what was written is what it has."""
    make = registry.find("routers", name)
    defaults = make().config()
    changed = {
        key: 2 if type(value) is int else 0.5 if type(value) is float else value for key, value in defaults.items()
    }
    _, given = parse_method("routers", write_method(name, changed))
    assert make(**given).config() == changed
