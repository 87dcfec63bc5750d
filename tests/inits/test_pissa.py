"""PiSSA against the dense SVD; the randomised one against the exact one."""

import pytest
import torch
from torch import Generator

from tests.conftest import each
from yosegi.errors import Invalid
from yosegi.inits.pissa import pissa

SHAPES = [(30, 20), (20, 30), (25, 25)]


def sign_free(A, B):
    """The factors with every direction turned so that the largest entry of A's row is positive."""
    sign = A.gather(1, A.abs().argmax(1, keepdim=True)).sign()
    return sign * A, B * sign.T


@each("shape", SHAPES)
@each("scale", [1.0, 2.0, 0.25])
def test_is_the_principal_part_shared_evenly(shape, scale):
    W, rank = torch.randn(shape), 4
    A, B = pissa(W, rank, scale, Generator())
    U, S, V = torch.linalg.svd(W.double(), full_matrices=False)
    root = (S[:rank] / scale).sqrt()
    want_A, want_B = root.diag() @ V[:rank], U[:, :rank] @ root.diag()
    for got, want in zip(sign_free(A.double(), B.double()), sign_free(want_A, want_B), strict=True):
        torch.testing.assert_close(got, want, atol=1e-4, rtol=0)
    torch.testing.assert_close((scale * B @ A).double(), (U[:, :rank] * S[:rank]) @ V[:rank], atol=1e-5, rtol=0)


@each("shape", SHAPES)
def test_the_residual_plus_the_start_is_w(shape):
    W, rank, scale = torch.randn(shape), 4, 2.0
    A, B = pissa(W, rank, scale, Generator())
    residual = W - scale * B @ A
    S = torch.linalg.svdvals(W)
    torch.testing.assert_close(torch.linalg.svdvals(residual)[:3], S[rank : rank + 3], atol=1e-4, rtol=0)
    torch.testing.assert_close(residual + scale * B @ A, W, atol=1e-5, rtol=0)


@each("shape", SHAPES)
def test_full_rank_is_w_itself(shape):
    W = torch.randn(shape)
    A, B = pissa(W, min(shape), 2.0, Generator())
    torch.testing.assert_close(2.0 * B @ A, W, atol=1e-5, rtol=0)


@each("shape", [(300, 200), (200, 300)])
def test_the_randomised_one_is_close(shape):
    W, rank, scale = torch.randn(shape), 8, 2.0
    best = scale * torch.matmul(*reversed(pissa(W, rank, scale, Generator())))
    least = (W - best).norm()
    lost = []
    for power_steps in (1, 16):
        A, B = pissa(W, rank, scale, Generator().manual_seed(0), power_steps)
        assert A.shape == (rank, shape[1]) and B.shape == (shape[0], rank)
        lost.append(float((W - scale * B @ A).norm() / least) - 1)
        balance = (A @ A.T, B.T @ B)  # both are diag(S / s), however rough the directions
        torch.testing.assert_close(*balance, atol=1e-3, rtol=0)
    assert -1e-5 < lost[1] < 2e-4 < lost[0] < 0.05  # the hardest case: a spectrum with no gap


def test_the_randomised_one_is_exact_where_the_spectrum_ends():
    W = torch.randn(60, 4) @ torch.randn(4, 80)
    A, B = pissa(W, 4, 1.0, Generator().manual_seed(0), power_steps=4)
    torch.testing.assert_close(B @ A, W, atol=1e-4, rtol=0)


def test_the_randomised_one_depends_on_its_generator_alone():
    W = torch.randn(30, 40)
    one, again = (pissa(W, 4, 1.0, Generator().manual_seed(5), power_steps=4)[0] for _ in range(2))
    assert torch.equal(one, again)


def test_no_power_steps_are_refused():
    with pytest.raises(Invalid, match="power_steps=0: .* at least 1; None"):
        pissa(torch.randn(9, 9), 2, 1.0, Generator(), power_steps=0)
