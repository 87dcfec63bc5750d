"""The tree of errors: one root, the standard error beside it, and a message that helps."""

import inspect
import pickle

from tests.conftest import each
from yosegi import errors
from yosegi.errors import (
    Corrupt,
    Diverged,
    Invalid,
    MissingExtra,
    NoData,
    NotFinite,
    Refused,
    UnknownName,
    WrongBase,
    YosegiError,
)

STANDARD = {
    UnknownName: LookupError,
    Invalid: ValueError,
    WrongBase: Invalid,
    Corrupt: Invalid,
    Refused: Invalid,
    NotFinite: Invalid,
    Diverged: Invalid,
    NoData: FileNotFoundError,
    MissingExtra: ImportError,
}


@each("kind", STANDARD)
def test_each_is_also_the_error_a_caller_expects(kind):
    assert issubclass(kind, YosegiError) and issubclass(kind, STANDARD[kind])


def test_the_tree_in_the_docstring_is_the_tree():
    classes = {c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, YosegiError)}
    assert classes == {*STANDARD, YosegiError}
    assert all(c.__name__ in errors.__doc__ for c in classes)


@each("kind", [*STANDARD, YosegiError])
def test_the_message_is_the_message(kind):
    assert str(kind("no 'x' here")) == "no 'x' here"  # LookupError would put it in quotes
    assert str(kind()) == kind.__name__
    assert str(pickle.loads(pickle.dumps(kind("from another process")))) == "from another process"


def test_what_was_near():
    error = UnknownName.among("router", "arow", ["uniform", "arrow", "oracle"])
    assert str(error) == "No router is called 'arow'. Did you mean 'arrow'? There are: arrow, oracle, uniform."


def test_nothing_near():
    assert str(UnknownName.among("task", "zzz", ["gsm8k"])) == "No task is called 'zzz'. There are: gsm8k."


def test_nothing_at_all():
    assert str(UnknownName.among("expert", "a", [])) == "No expert is called 'a'. There are: none."


def test_a_long_list_is_cut():
    text = str(UnknownName.among("task", "zzz", (f"task{i:03}" for i in range(100))))
    assert text.endswith("task038, task039, … (100 in all).") and "task040" not in text


def test_missing_extra():
    assert "'lm_eval'" in str(MissingExtra.named("lm_eval", "eval"))
    assert "pip install 'yosegi-lora[eval]'" in str(MissingExtra.named("lm_eval", "eval"))
