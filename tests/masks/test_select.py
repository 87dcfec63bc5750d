"""The largest entries, held against a plain sort."""

import pytest
import torch

from tests.conftest import each
from yosegi.errors import Invalid
from yosegi.masks._select import prefix, top


def sorted_prefix(score_J, share):
    value_J, place_J = score_J.double().sort(descending=True, stable=True)
    taken_J = torch.zeros_like(score_J, dtype=torch.bool)
    taken_J[place_J[: int((value_J.cumsum(0) < share * value_J.sum()).sum()) + 1]] = True
    return taken_J


@each("size", [1, 2, 10, 1000, 600_000])
@each("share", [0.01, 0.3, 0.9, 0.999])
def test_the_prefix_is_that_of_a_sort(size, share):
    score_J = torch.randn(size).abs() ** 3
    assert torch.equal(prefix(score_J, share), sorted_prefix(score_J, share))


def test_of_equals_the_first_are_taken():
    for _ in range(50):
        score_J, share = torch.randint(0, 5, (100,)).float(), 0.001 + 0.99 * float(torch.rand(()))
        assert torch.equal(prefix(score_J, share), sorted_prefix(score_J, share))
    assert prefix(torch.ones(5), 0.5).tolist() == [True, True, True, False, False]
    assert top(torch.tensor([1.0, 2, 2, 2]), 2).tolist() == [False, True, True, False]


@each("size", [1e-42, 1e-30, 1.0, 1e30])
def test_however_large_or_small(size):
    score_J = torch.rand(500) * size
    assert torch.equal(prefix(score_J, 0.7), sorted_prefix(score_J, 0.7))


def test_nothing_and_everything():
    score_J = torch.rand(100)
    assert not prefix(score_J, 0.0).any() and prefix(score_J, 1.0).all()
    assert not top(score_J, 0).any() and top(score_J, 100).all() and top(score_J, 500).all()
    assert not prefix(torch.zeros(4), 0.5).any()


def test_among_some():
    score_J, among_J = torch.rand(1000), torch.rand(1000) < 0.3
    taken_J = top(score_J, 50, among_J)
    assert taken_J.sum() == 50 and not (taken_J & ~among_J).any()
    assert score_J[taken_J].min() >= score_J[among_J & ~taken_J].max()
    only = torch.zeros_like(score_J)
    only[among_J] = sorted_prefix(score_J[among_J], 0.6).float()
    assert torch.equal(prefix(score_J, 0.6, among_J), only.bool())


@each("bad", [float("nan"), float("inf"), -1.0])
def test_what_is_no_score(bad):
    score_J = torch.rand(10)
    score_J[3] = bad
    with pytest.raises(Invalid, match="finite and not negative"):
        prefix(score_J, 0.5)
    with pytest.raises(Invalid, match="fp32"):
        top(torch.rand(3).double(), 1)
