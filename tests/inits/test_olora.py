"""OLoRA: the first columns of Q and rows of R."""

import torch
from torch import Generator

from tests.conftest import each
from yosegi.inits.olora import olora


@each("shape", [(30, 20), (20, 30), (25, 25)])
def test_is_the_head_of_the_qr(shape):
    W, rank = torch.randn(shape), 4
    A, B = olora(W, rank, 2.0, Generator())
    Q, R = torch.linalg.qr(W)
    assert torch.equal(A, R[:rank]) and torch.equal(B, Q[:, :rank])
    torch.testing.assert_close(B.T @ B, torch.eye(rank))
    torch.testing.assert_close(B @ A + Q[:, rank:] @ R[rank:], W)
    torch.testing.assert_close((B @ A)[:, :rank], W[:, :rank])  # R is triangular: these columns are whole already


def test_the_factors_are_their_own_memory():
    A, B = olora(torch.randn(9, 9), 2, 1.0, Generator())
    assert A.untyped_storage().nbytes() == A.nbytes and B.untyped_storage().nbytes() == B.nbytes
