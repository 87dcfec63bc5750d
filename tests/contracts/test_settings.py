"""No settings class takes numbers that are none: checked on every field of every one of them."""

import importlib
import pkgutil

import pytest
from pydantic import ValidationError

import yosegi
from yosegi.settings import CheckedSettings, _kinds

SKIPPED = ("yosegi.__main__", "yosegi.sandbox.jail", "yosegi.sandbox.node")


def every(of=CheckedSettings):
    for one in of.__subclasses__():
        yield one
        yield from every(one)


for module in pkgutil.walk_packages(yosegi.__path__, "yosegi."):
    if (
        module.name.rpartition(".")[2].endswith(("settings", "_options", "predict", "label", "build"))
        and "commands" not in module.name
    ):
        importlib.import_module(module.name)
CLASSES = sorted({*every()}, key=lambda one: (one.__module__, one.__name__))
FIELDS = [(one, name, field) for one in CLASSES for name, field in one.model_fields.items()]


def test_there_are_many():
    assert len(CLASSES) >= 10 and len(FIELDS) > 150


@pytest.mark.parametrize("one", CLASSES, ids=lambda one: one.__name__)
def test_what_is_no_number_is_refused(one):
    taken = []
    for name, field in one.model_fields.items():
        kinds = _kinds(field.annotation)
        if not kinds & {int, float} or kinds & {dict}:
            continue
        bad = [float("nan"), float("inf"), -float("inf"), 2**60, -(2**60)] + [True] * (bool not in kinds)
        for value in [*bad, *([-1, 2**32] if name.endswith("seed") else [])]:
            for given in ([value], [[value]])[list in kinds or tuple in kinds]:
                try:
                    one.model_validate({name: given})
                except ValidationError as error:
                    if any(name in problem["loc"] for problem in error.errors()):
                        continue
                except Exception:
                    pass
                taken.append(f"{name}={given!r}")
    assert not taken


@pytest.mark.parametrize("one", CLASSES, ids=lambda one: one.__name__)
def test_an_empty_name_and_an_unknown_one_are_refused(one):
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        one.model_validate({"no_such_setting": 1})
    for name, field in one.model_fields.items():
        if (
            str in _kinds(field.annotation)
            and field.default not in ("", [])
            and not _kinds(field.annotation) & {list, tuple, dict}
        ):
            with pytest.raises(ValidationError, match="it is empty|Input should be"):
                one.model_validate({name: " "})
