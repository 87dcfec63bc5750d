"""The sum of the deltas, λ each."""

import pytest
import torch

from yosegi.merges.task_arithmetic import task_arithmetic

E, R, I, O = 4, 2, 7, 5


@pytest.mark.parametrize("scaling", [0.3, 1.0, -1.0])
def test_equal_weights_are_the_plain_sum(scaling):
    A, B, w = torch.randn(E, R, I).double(), torch.randn(E, O, R).double(), torch.full((E,), 1 / E).double()
    got_A, got_B = task_arithmetic(A, B, w, scaling)
    want = scaling * sum(B[e] @ A[e] for e in range(E))
    torch.testing.assert_close(got_B @ got_A, want, atol=1e-12, rtol=0)
    assert got_A.shape == (E * R, I) and got_B.shape == (O, E * R)


def test_other_weights_keep_their_proportion():
    A, B, w = torch.randn(E, R, I).double(), torch.randn(E, O, R).double(), torch.tensor([0.1, 0.2, -0.3, 0.4]).double()
    got_A, got_B = task_arithmetic(A, B, w, 0.5)
    want = sum(0.5 * E * w[e] * B[e] @ A[e] for e in range(E))
    torch.testing.assert_close(got_B @ got_A, want, atol=1e-12, rtol=0)
