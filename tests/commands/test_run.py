"""Fields of a recipe as words: every value in the type of its default, or one line."""

import pytest

from yosegi.commands.run import _typed
from yosegi.errors import Invalid


@pytest.mark.parametrize(
    ("value", "default", "expected"),
    [
        ("1e-3,3e-3", (0.1,), (0.001, 0.003)),
        ("[0.1, 1]", (0.1,), (0.1, 1.0)),
        ([1, "1e-2"], (0.1,), (1.0, 0.01)),
        (0.5, (0.1,), (0.5,)),
        ("0, 1", (5,), (0, 1)),
        ("en=a,ja=b", ("x",), ("en=a", "ja=b")),
        ("", ("x",), ()),
        ("1e-3", 0.1, 0.001),
        ("2", 0.1, 2.0),
        ("true", False, True),
        ("5", "x", "5"),
        ("null", None, None),
        ("128", None, 128),
    ],
)
def test_words_become_what_the_default_is(value, default, expected):
    found = _typed("recipe", "field", value, default)
    assert found == expected and type(found) is type(expected)
    assert not isinstance(found, tuple) or [type(part) for part in found] == [type(part) for part in expected]


@pytest.mark.parametrize(
    ("value", "default", "said"),
    [
        ("0.1,x", (0.1,), r"field is a list, and each of it a number; 'x' was given"),
        ("true", (0.1,), r"each of it a number; True was given"),
        ("0,a", (5,), r"each of it a whole number; 'a' was given"),
        ("4.5", (5,), r"each of it a whole number; 4\.5 was given"),
        ("{", (5,), r"a whole number; '\[\{\]' was given"),
        ("[", 5, r"field is a whole number; '\[' was given"),
        ("maybe", True, r"field is true or false; 'maybe' was given"),
        (3, "x", r"field is a text; 3 was given"),
        ("", 5, r"a whole number; None was given"),
    ],
)
def test_anything_else_is_one_line(value, default, said):
    with pytest.raises(Invalid, match=said):
        _typed("recipe", "field", value, default)


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
