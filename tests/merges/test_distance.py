"""How far apart two deltas are, against the dense difference; also where a Gram matrix would drown in rounding."""

import pytest
import torch

from tests.conftest import each
from yosegi.merges import _distance
from yosegi.merges._distance import apart, norm


@each("shape", [(2, 9, 7), (12, 9, 7)])
def test_norm_is_that_of_the_product(shape):
    R, O, I = shape
    A, B = torch.randn(R, I), torch.randn(O, R)
    assert norm(A, B) == pytest.approx(float((B.double() @ A.double()).norm()), rel=1e-12)


@each("shift", [1.0, 1e-1, 1e-2, 1e-3, 1e-5, 0.0])
def test_apart_is_that_of_the_dense_deltas(shift):
    A, B = torch.randn(6, 40), torch.randn(30, 6)
    A_R, B_R = A + shift * torch.randn(6, 40), B.clone()
    lost, total, _ = apart(A_R, B_R, A, B)
    want = (B_R.double() @ A_R.double() - B.double() @ A.double()).square().sum()
    assert lost == pytest.approx(float(want), rel=1e-5, abs=1e-18)
    assert total == pytest.approx(float((B.double() @ A.double()).square().sum()), rel=1e-5)


def test_a_sum_that_cancels_is_measured_too():
    A, B = torch.randn(3, 20), torch.randn(15, 3)
    A_X, B_X = torch.cat([A, A + 1e-4 * torch.randn(3, 20)]), torch.cat([B, B], 1)
    w = torch.tensor([1.0] * 3 + [-1.0] * 3)
    B_X = w * B_X
    _, total, _ = apart(A, B, A_X, B_X)
    assert total == pytest.approx(float((B_X.double() @ A_X.double()).square().sum()), rel=1e-6)


def test_what_is_far_apart_needs_no_qr(monkeypatch):
    monkeypatch.setattr(_distance, "norm", None)
    apart(torch.randn(2, 9), torch.randn(8, 2), torch.randn(4, 9), torch.randn(8, 4))


def test_the_second_may_be_a_weighted_sum():
    A, B, A_X, B_X, w = torch.randn(2, 9), torch.randn(8, 2), torch.randn(4, 9), torch.randn(8, 4), torch.randn(4)
    lost, total, _ = apart(A, B, A_X, w * B_X)
    want = (w * B_X) @ A_X
    assert lost == pytest.approx(float((B @ A - want).square().sum()), rel=1e-5)
    assert total == pytest.approx(float(want.square().sum()), rel=1e-5)
