"""The average of A times the average of B, cross terms and all."""

import pytest
import torch

from yosegi.errors import Invalid
from yosegi.merges.linear import linear

E, R, I, O = 3, 2, 7, 5


def draw():
    return torch.randn(E, R, I), torch.randn(E, O, R), torch.tensor([0.2, 0.5, 0.3])


def test_is_the_product_of_sums():
    A, B, w = draw()
    got_A, got_B = linear(A, B, w)
    want = sum(w[i] * w[j] * B[i] @ A[j] for i in range(E) for j in range(E))
    torch.testing.assert_close(got_B @ got_A, want)
    assert got_A.shape == (R, I) and got_B.shape == (O, R)


def test_it_is_not_the_average_of_the_deltas_unless_all_are_one():
    A, B, w = draw()
    got_A, got_B = linear(A, B, w)
    assert ((got_B @ got_A) - sum(w[e] * B[e] @ A[e] for e in range(E))).norm() > 1
    got_A, got_B = linear(A[:1].expand(E, R, I), B[:1].expand(E, O, R), w)
    torch.testing.assert_close(got_B @ got_A, B[0] @ A[0])


def test_a_negative_weight_is_refused():
    A, B, _ = draw()
    with pytest.raises(Invalid, match="negative"):
        linear(A, B, torch.tensor([0.5, -0.1, 0.5]))


def test_mixed_ranks_are_refused():
    A, B, w = draw()
    A[1, 1:], B[1, :, 1:] = 0, 0  # a shorter expert, padded
    with pytest.raises(Invalid, match="same rank"):
        linear(A, B, w)


def test_padding_that_all_share_is_no_rank():
    A, B, w = draw()
    want = torch.matmul(*reversed(linear(A, B, w)))
    pad = torch.nn.functional.pad
    got_A, got_B = linear(pad(A, (0, 0, 0, 2)), pad(B, (0, 2)), w)
    torch.testing.assert_close(got_B @ got_A, want)
