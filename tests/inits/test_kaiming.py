"""LoRA's own start: what torch calls kaiming_uniform_(a=√5), and no B."""

import math

import torch
from torch import Generator, nn

from yosegi.inits.kaiming import kaiming

W = torch.zeros(40, 500)


def test_is_torchs_kaiming_uniform():
    A, B = kaiming(W, 16, 2.0, Generator().manual_seed(3))
    want = nn.init.kaiming_uniform_(torch.empty(16, 500), a=math.sqrt(5), generator=Generator().manual_seed(3))
    torch.testing.assert_close(A, want)
    assert B.shape == (40, 16) and not B.any()


def test_bounds():
    A, _ = kaiming(W, 200, 2.0, Generator().manual_seed(0))
    assert A.abs().max() <= 500**-0.5 and A.abs().max() > 0.999 * 500**-0.5
    assert abs(A.std() * 500**0.5 - 3**-0.5) < 0.01
