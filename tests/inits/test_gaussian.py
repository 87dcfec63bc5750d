"""A ~ N(0, 1/R²), no B."""

import torch
from torch import Generator

from tests.conftest import each
from yosegi.inits.gaussian import gaussian


@each("rank", [2, 16])
def test_the_deviation_is_one_over_the_rank(rank):
    A, B = gaussian(torch.zeros(40, 5000), rank, 2.0, Generator().manual_seed(0))
    assert A.shape == (rank, 5000) and abs(A.std() * rank - 1) < 0.02 and abs(A.mean() * rank) < 0.02
    assert B.shape == (40, rank) and not B.any()


def test_the_generator_decides():
    one, other, again = (gaussian(torch.zeros(4, 9), 2, 1.0, Generator().manual_seed(s))[0] for s in (0, 1, 0))
    assert torch.equal(one, again) and not torch.equal(one, other)
