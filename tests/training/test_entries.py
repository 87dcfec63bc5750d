"""Which entries move, in a word: the regions of masks/importance.py, and as many at random."""

import pytest
import torch

from yosegi import tasks
from yosegi.bases import load
from yosegi.core.model import attach
from yosegi.errors import Invalid
from yosegi.masks.importance import share_of
from yosegi.routers.by_request import ByRequest
from yosegi.training.entries import Entries
from yosegi.training.settings import Settings


@pytest.fixture(scope="module")
def entries():
    fast, slow = (tasks.load(f"skills/{name}").examples("train")[:12] for name in ("last", "chain"))
    return Entries(
        load("nano"), Settings(rank=2, init="normal", targets=["q_proj", "up_proj"], seed=3), fast, slow, 6, 0.8
    )


def test_importance_is_measured_on_a_few_of_each_system(entries):
    assert {kind: len(some) for kind, some in entries.examples.items()} == {"fast": 6, "slow": 6, "all": 12}
    assert set(entries.score("fast")) == set(entries.mask("all")) and entries.score("fast") is entries.score("fast")


def test_stages_move_their_own_and_a_share_of_what_is_shared(entries):
    whole, none = entries.regions(1, 1), entries.regions(0, 0)
    for name, first in entries.mask("alpha 0").items():
        assert torch.equal(first, whole.first[name]) and torch.equal(entries.mask("beta 0")[name], whole.second[name])
        assert torch.equal(entries.mask("alpha 1")[name], whole.first[name] | whole.shared[name])
    assert share_of(none.stages[0]) < share_of(entries.mask("alpha 0.5")) < share_of(whole.stages[0])
    assert 0 < whole.jaccard < 1 and 0 < entries.null_jaccard() < 1


@pytest.mark.parametrize("what", ["theta 0.8", "alpha 1", "beta 0.5"])
def test_as_many_at_random(entries, what):
    own, drawn, again = entries.mask(what), entries.mask(f"random {what}", 5), entries.mask(f"random {what}", 5)
    assert share_of(drawn) == pytest.approx(share_of(own), abs=1e-3)
    assert any(not torch.equal(drawn[name], own[name]) for name in own)
    assert all(torch.equal(drawn[name], again[name]) for name in own)


def test_two_stages_are_drawn_apart(entries):
    one, two = entries.mask("random alpha 1", 0), entries.mask("random beta 1", 0)
    assert any(not torch.equal(one[name], two[name]) for name in one)


def test_all_are_the_own_entries_and_none_of_the_origin(entries):
    begun = entries.initial()
    assert all(f.rank == 2 * 2 for f in begun.factors.values()), "the origin stands behind"
    assert {key: tuple(mask.shape) for key, mask in entries.mask("all").items()} == {
        f"{layer}|{key}": tuple(t.shape)
        for layer, f in entries.start.factors.items()
        for key, t in (("A", f.A_RI), ("B", f.B_OR))
    }
    banks = attach(entries.base.model, [begun], ByRequest())
    banks.detach()
    assert max(float(begun.delta(layer).abs().max()) for layer in begun.factors) < 1e-6


@pytest.mark.parametrize("what", ["half", "theta", "gamma 1", "theta x"])
def test_other_words_are_refused(entries, what):
    with pytest.raises(Invalid, match="there are: all, theta T"):
        entries.mask(what)
