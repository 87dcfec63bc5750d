"""Muon is torch's but for the precision on the way, and leaves to AdamW what is no matrix."""

import pytest
import torch
from torch import nn

from yosegi.errors import Invalid
from yosegi.optimizers.muon import Muon, orthogonal


@pytest.mark.parametrize("shape", [(2, 16, 40), (2, 40, 16), (1, 16, 16), (2, 3, 16, 40)])
def test_orthogonal_brings_singular_values_near_one(shape):
    torch.manual_seed(0)
    result = orthogonal(torch.randn(shape))
    values = torch.linalg.svdvals(result)
    assert result.shape == shape and values.min() > 0.3 and values.max() < 1.3


def test_it_is_torchs_muon_beside_torchs_adamw():
    torch.manual_seed(0)
    ours = [nn.Parameter(torch.randn(shape)) for shape in ((6, 10), (6, 10), (12, 5), (7, 4), (3,))]
    theirs = [nn.Parameter(p.detach().clone()) for p in ours]
    before = [p.detach().clone() for p in ours]
    plain = {"params": ours[3:], "rank": None, "weight_decay": 0.0}
    pair = [
        Muon([{"params": ours[:3]}, plain], lr=0.02, weight_decay=0.1),
        torch.optim.Muon(theirs[:3], lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(theirs[3:], lr=0.02, betas=(0.9, 0.95), weight_decay=0.0),
    ]
    for _ in range(3):
        for one, other in zip(ours, theirs, strict=True):
            one.grad = torch.randn_like(one)
            other.grad = one.grad.clone()
        for optimizer in pair:
            optimizer.step()
    for one, other, start in zip(
        ours[:3], theirs[:3], before[:3], strict=True
    ):  # theirs is rounded to bfloat16 on the way
        assert (one - other).norm() < 0.03 * (other - start).norm()
    assert all(torch.equal(one, other) for one, other in zip(ours[3:], theirs[3:], strict=True))


def test_a_vector_is_no_matrix():
    with pytest.raises(Invalid, match="rank None"):
        Muon([nn.Parameter(torch.zeros(3))], lr=0.1)
