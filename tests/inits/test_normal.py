"""Both factors small: no entry starts where its gradient is zero."""

import torch
from torch import Generator

from tests.conftest import each
from yosegi.inits.normal import normal


@each("std", [0.01, 0.3])
def test_both_factors_are_small(std):
    A, B = normal(torch.zeros(4000, 5000), 8, 2.0, Generator().manual_seed(0), std)
    assert A.shape == (8, 5000) and B.shape == (4000, 8)
    assert abs(A.std() / std - 1) < 0.02 and abs(B.std() / std - 1) < 0.02
    assert A.all() and B.all()


def test_the_factors_are_drawn_apart():
    A, B = normal(torch.zeros(9, 9), 9, 1.0, Generator().manual_seed(0))
    assert not torch.equal(A, B) and not torch.equal(A, B.T)
    assert torch.equal(normal(torch.zeros(9, 9), 9, 1.0, Generator().manual_seed(0))[1], B)
