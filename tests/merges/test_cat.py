"""Side by side is exactly the weighted sum of the deltas."""

import pytest
import torch

from yosegi.merges.cat import cat

E, R, I, O = 3, 2, 7, 5


@pytest.mark.parametrize("weights", [[1.0, 1.0, 1.0], [0.2, 0.5, 0.3], [-1.5, 0.0, 2.0]])
def test_is_the_weighted_sum(weights):
    A, B, w = torch.randn(E, R, I).double(), torch.randn(E, O, R).double(), torch.tensor(weights).double()
    got_A, got_B = cat(A, B, w)
    assert got_A.shape == (E * R, I) and got_B.shape == (O, E * R)
    want = sum(w[e] * B[e] @ A[e] for e in range(E))
    torch.testing.assert_close(got_B @ got_A, want, atol=1e-12, rtol=0)


def test_every_expert_keeps_its_own_rows():
    A, B = torch.randn(E, R, I), torch.randn(E, O, R)
    got_A, got_B = cat(A, B, torch.tensor([1.0, 2.0, 3.0]))
    for e in range(E):
        rows = slice(e * R, (e + 1) * R)
        assert torch.equal(got_A[rows], A[e]) and torch.equal(got_B[:, rows], (e + 1) * B[e])
