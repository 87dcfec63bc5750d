"""Regions: who is in them, how many of the shared move, and what cannot be ranked."""

import pytest
import torch

from tests.conftest import each
from yosegi.errors import Invalid
from yosegi.masks.importance import importance, regions, share_of


def scores(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {"x|A": torch.rand(4, 30, generator=generator) ** 4, "x|B": torch.rand(20, 4, generator=generator) ** 4}


def flat(mask):
    return torch.cat([moves.flatten() for moves in mask.values()])


def test_it_is_the_smallest_prefix_over_all_layers():
    one = scores()
    mask = importance(one, one, 0.9)
    score_J, moves_J = flat(one), flat(mask)
    kept = score_J[moves_J]
    assert kept.sum() >= 0.9 * score_J.sum() and kept.sum() - kept.min() < 0.9 * score_J.sum()
    assert kept.min() >= score_J[~moves_J].max() and share_of(mask) == moves_J.sum() / moves_J.numel()


def test_the_regions_and_their_jaccard():
    one, two = scores(1), scores(2)
    found = regions(one, two, 0.8)
    in_one, in_two = flat(importance(one, one, 0.8)), flat(importance(two, two, 0.8))
    assert torch.equal(flat(found.first), in_one & ~in_two) and torch.equal(flat(found.shared), in_one & in_two)
    assert torch.equal(flat(found.stages[0]), in_one) and torch.equal(flat(found.stages[1]), in_two)  # α = β = 1
    a, b = (flat(found.first).sum() / in_one.sum()).item(), (flat(found.second).sum() / in_two.sum()).item()
    assert 1 / (1 - a) + 1 / (1 - b) - 1 == pytest.approx(1 / found.jaccard)


@each("alpha, beta", [(0.0, 1.0), (0.5, 0.25), (1.0, 0.0)])
def test_a_part_of_the_shared_moves(alpha, beta):
    one, two = scores(1), scores(2)
    found = regions(one, two, 0.8, alpha, beta)
    shared = flat(found.shared)
    for stage, own, score, share in zip(found.stages, found[:2], (one, two), (alpha, beta), strict=True):
        moves = flat(stage)
        assert torch.equal(moves & ~shared, flat(own)) and (moves & shared).sum() == int(share * shared.sum())
        if 0 < share < 1:
            assert flat(score)[moves & shared].min() >= flat(score)[~moves & shared].max()


def test_what_cannot_be_ranked():
    one = scores()
    with pytest.raises(Invalid, match="Every importance is 0, as it is while B = 0"):
        importance(one, {name: torch.zeros_like(score) for name, score in one.items()})
    with pytest.raises(Invalid, match="needs scores"):
        importance(one)
    with pytest.raises(Invalid, match="do not fit x"):
        importance(one, {"x|A": one["x|A"]})
    with pytest.raises(Invalid, match=r"theta=1\.5"):
        importance(one, one, 1.5)
    with pytest.raises(Invalid, match="different entries"):
        regions(one, {"x|A": one["x|A"]})
