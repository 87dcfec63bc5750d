"""Fields of a recipe as words: every value in the type that the recipe's Config says, or one line."""

import dataclasses
import sys
import types

import pytest

from yosegi.errors import Invalid, UnknownName
from yosegi.recipes import configure, run_recipe


@pytest.fixture
def recipe(monkeypatch):
    """A recipe from outside with a field of every type."""

    @dataclasses.dataclass(frozen=True)
    class Config:
        rates: tuple[float, ...] = (0.1,)
        seeds: tuple[int, ...] = (5,)
        names: tuple[str, ...] = ("x",)
        rate: float = 0.1
        steps: int = 5
        quick: bool = False
        name: str = "x"
        limit: int | None = None

    module = types.ModuleType("some_recipe")
    module.Config, module.SMOKE = Config, Config(steps=1)
    module.main = lambda config, run: run.log(step=config.steps)
    monkeypatch.setitem(sys.modules, "some_recipe", module)
    monkeypatch.setattr("yosegi.registry.load", lambda kind, name: module)
    return "some_recipe"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("rates", "1e-3,3e-3", (0.001, 0.003)),
        ("rates", "[0.1, 1]", (0.1, 1.0)),
        ("rates", [1, "1e-2"], (1.0, 0.01)),
        ("rates", 0.5, (0.5,)),
        ("seeds", "0, 1", (0, 1)),
        ("names", "en=a,ja=b", ("en=a", "ja=b")),
        ("names", "", ()),
        ("rate", "1e-3", 0.001),
        ("rate", "2", 2.0),
        ("quick", "true", True),
        ("name", "5", "5"),
        ("limit", "null", None),
        ("limit", "128", 128),
    ],
)
def test_words_become_what_the_field_is(recipe, name, value, expected):
    found = getattr(configure(recipe, **{name: value}), name)
    assert found == expected and type(found) is type(expected)
    assert not isinstance(found, tuple) or [type(part) for part in found] == [type(part) for part in expected]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("rates", "0.1,x", r"rates is of type tuple\[float, ...\]; .*x.* was given"),
        ("rates", "true", "rates is of type"),
        ("seeds", "0,a", r"seeds is of type tuple\[int, ...\]"),
        ("seeds", "4.5", "seeds is of type"),
        ("seeds", "{", "is not a spec"),
        ("steps", "[", r"steps is of type int; \[ was given"),
        ("quick", "maybe", "quick is of type bool; maybe was given"),
        ("name", 3, "name is of type str; 3 was given"),
        ("steps", "", "steps is of type int"),
        ("seeds", "", "needs a seed"),
    ],
)
def test_anything_else_is_one_line(recipe, name, value, said):
    with pytest.raises(Invalid, match=said):
        configure(recipe, **{name: value})
    with pytest.raises(UnknownName, match="Did you mean 'steps'"):
        configure(recipe, stepz=3)


def test_a_recipe_is_one_call(recipe, tmp_path):
    from yosegi import files

    run = run_recipe(recipe, tmp_path / "r", smoke=True, seeds=(1, 2))
    assert files.read_jsonl(run.path / "metrics.jsonl") == [{"step": 1}]
    assert files.read_json(run.path / "config.json")["seeds"] == [1, 2] and (run.path / "report.html").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--steps", "0"), "max-steps"),
        (("--every", "0"), "eval_steps=0"),
        (("--seeds", ""), "needs a seed"),
    ],
)
def test_values_that_make_no_training_are_one_line(refused, words, said):
    assert said in refused("run", "domain", "--smoke", *words)
