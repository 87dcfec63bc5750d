"""Which experts may be compared factor by factor."""

import warnings

import pytest

from yosegi.core.expert import Expert
from yosegi.errors import Invalid, WrongBase
from yosegi.library.origin import check_one_base, check_origin


def expert(name, **card):
    return Expert(name, {}, card)


def refused(*experts):
    with pytest.raises(Invalid) as error:
        check_origin(experts, "compared", "deltas")
    return str(error.value)


def test_one_origin_passes_in_silence():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_origin([], "compared", "deltas")
        check_origin([expert(n, init="kaiming", init_seed=3) for n in "abc"], "compared", "deltas")
        check_origin([expert("a", init="kaiming", init_seed=0, training={"init_args": {}, "steps": s}) for s in (1, 2)], "compared", "deltas")  # fmt: skip


def test_two_origins_are_told_with_the_way_out():
    message = refused(expert("a", init="kaiming", init_seed=0), expert("b", init="kaiming", init_seed=1))
    assert (
        "'a' and 'b'" in message and "kaiming, seed 0; kaiming, seed 1" in message and "cannot be compared" in message
    )
    assert message.endswith("or use deltas.")
    assert "pissa, seed 0" in refused(expert("a", init="kaiming", init_seed=0), expert("b", init="pissa", init_seed=0))
    args = [expert(n, init="normal", init_seed=0, training={"init_args": {"std": s}}) for n, s in (("a", 1), ("b", 2))]
    assert '{"std": 2}' in refused(*args)


def test_a_card_without_an_origin_warns_and_does_not_hide_a_difference():
    a, b = expert("a", init="kaiming", init_seed=0), expert("b", training="by hand")
    with pytest.warns(UserWarning, match=r"expert 'b' \(1 of 2\) does not say.*use deltas"):
        check_origin([a, b], "compared", "deltas")
    with pytest.warns(UserWarning, match=r"'c' \(2 of 2\)"):
        check_origin([expert("c", init="kaiming"), expert("d", init_seed=0)], "compared", "deltas")
    refused(a, b, expert("c", init="kaiming", init_seed=1))


def test_one_base():
    check_one_base(
        [expert("a", base_hash="abc"), expert("b", base_hash=None), expert("c"), expert("d", base_hash="abc")]
    )
    with pytest.raises(WrongBase, match=r"'a' and 'b' belong to different bases \(abc and def\)"):
        check_one_base([expert("a", base_hash="abc"), expert("b", base_hash="def")])
