"""Buffers that are not there before they are learnt: who they are about, how they come back, who shares them."""

import copy

import pytest
import torch

from yosegi.errors import Invalid
from yosegi.routers._learnt import Learnt, Shared

CPU = torch.device("cpu")


def make(kind=Learnt, whose=("a", "b")):
    learnt = kind("router", "p_EI")
    learnt.belong(whose, CPU, p_EI=(len(whose), None))
    return learnt


def test_nothing_is_saved_before_there_is_something():
    learnt = make()
    assert not learnt.state_dict()
    with pytest.raises(
        Invalid, match="router router is not trained: yosegi train-router --library LIBRARY --arm router"
    ):
        learnt.get("p_EI")
    learnt.set(p_EI=torch.ones(2, 3))
    assert list(learnt.state_dict()) == ["p_EI"]


def test_it_comes_back_with_the_shape_it_had():
    one, other = make(), make()
    one.set(p_EI=torch.randn(2, 7))
    other.load_state_dict(one.state_dict())
    assert torch.equal(other.get("p_EI"), one.get("p_EI")) and other.get("p_EI") is not one.get("p_EI")
    one.set(p_EI=torch.randn(2, 9))
    other.load_state_dict(one.state_dict())
    assert other.get("p_EI").shape == (2, 9)


def test_a_state_is_not_half_forgotten():
    learnt = make()
    learnt.set(p_EI=torch.ones(2, 3))
    with pytest.raises(RuntimeError, match="Missing"):
        learnt.load_state_dict({})


def test_others_are_others():
    learnt = make()
    learnt.set(p_EI=torch.ones(2, 3))
    learnt.belong(("a", "b"), CPU, p_EI=(2, None))
    assert learnt.get("p_EI").sum() == 6
    learnt.belong(("b", "a"), CPU, p_EI=(2, None))  # as many, in another order
    with pytest.raises(Invalid):
        learnt.get("p_EI")
    with pytest.raises(Invalid, match=r"p_EI is \(3, 3\), not \(2, None\)"):
        learnt.set(p_EI=torch.ones(3, 3))
    with pytest.raises(RuntimeError, match="p_EI"):
        learnt.load_state_dict({"p_EI": torch.ones(3, 3)})
    assert learnt.p_EI is None


def test_copies_of_the_shared_are_one_and_of_the_other_two():
    for kind, same in ((Learnt, False), (Shared, True)):
        one = make(kind)
        again = copy.deepcopy(one)
        one.set(p_EI=torch.ones(2, 3))
        assert (again.p_EI is one.p_EI) is same
