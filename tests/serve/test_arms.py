"""From a text to a seat: what a client may ask for, and what stays ready."""

import pytest

from tests.conftest import each
from tests.serve.conftest import expert
from yosegi.core.model import linears, shape
from yosegi.errors import Invalid
from yosegi.serve.arms import Arms, check, methods, weighted
from yosegi.serve.settings import ServeSettings
from yosegi.serve.shelf import Shelf
from yosegi.spec import quote


def seat(arms, text):
    return arms.ready(text) or arms.seat(text, *arms.asked(text))


@pytest.fixture
def arms(nano, library):
    modules = dict(nano.model.named_modules())
    shelf = Shelf(library.path, nano.hash, nano.name, {name: shape(modules[name]) for name in linears(nano.model)})
    shelf.look()
    return Arms(shelf, list(modules), ServeSettings(arms=3, experts=3, merged=2), "nano")


@each(
    "text, words",
    [
        ("pkg.mod:Cls", "other packages"),
        ("merge:os.path:join(a)", "other packages"),
        ("base{base_delta=/srv/run}", "whole weights"),
        ("retrieval{encoder=nano}(a)", "another model"),
        ("a*.5+b*.5{encoder=nano}", "another model"),
        ("mine{top_k=2,encoder=\"x/y\"}", "another model"),
        ("merge:knots{by=os:system}(a,b)", "a word is expected"),
        ("merge:svd{rank=[../x]}(a,b)", "a word is expected"),
        ("merge:svd{rank={a=/etc}}(a,b)", "a word is expected"),
        ("arrow(" + ",".join(f"e{n}" for n in range(2000)) + ")", "characters is longer"),
        ("+".join(f"e{n}" for n in range(700)), "not served"),
    ],
)  # fmt: skip
def test_what_reaches_further_is_refused(text, words):
    with pytest.raises(Invalid, match=words):
        check(text, ServeSettings(experts=100))


@each(
    "text",
    ["a", '"na:me"', "a*.7+b*.3", "arrow{top_k=2}(a,b)", "merge:ties{density=.3}(a*.7,b*.3)", "arrow{ablate=[a.b/c]}"],
)
def test_what_the_library_has_is_let_through(text):
    check(text, ServeSettings())


def test_limits_of_experts_and_merges(arms):
    with pytest.raises(Invalid, match="3 experts are more than the 2 of one merge"):
        seat(arms, "merge:ties(adder,turner,copier)")
    arms.settings = ServeSettings(experts=2)
    with pytest.raises(Invalid, match="3 experts are more than the 2 of one arm"):
        seat(arms, "arrow")


def test_a_seat_is_ready_until_what_it_means_changes(nano, library, arms):
    assert arms.ready("arrow") is None
    one = seat(arms, "arrow")
    assert arms.ready("arrow") is one is seat(arms, "arrow")
    other = seat(arms, "adder*0.5+turner*0.5")
    assert seat(arms, weighted({"adder": 0.5, "turner": 0.5})) is other
    library.add(expert(nano, "copier", rank=4, seed=5), overwrite=True)
    arms.shelf.look()
    assert arms.ready("arrow") is None and seat(arms, "arrow") is not one, "an expert of it was replaced"
    assert seat(arms, "adder*0.5+turner*0.5") is other, "not one of these"
    for name in ("adder", "turner", "copier"):
        seat(arms, name)
    assert len(arms._seats) == 3 and seat(arms, "adder") is seat(arms, "adder")


def test_weights_are_written_as_a_spec_reads_them():
    assert weighted({"a": 1.0, "b c": -0.25}) == "a*1+b c*-0.25" and weighted({}) == "base"
    assert weighted({"x:y": 2}) == f"{quote('x:y')}*2"
    assert {"arrow", "spectr", "merge:ties"} <= set(methods()) and not {"retrieval", "oracle"} & set(methods())
