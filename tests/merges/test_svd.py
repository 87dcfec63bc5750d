"""The small core has the spectrum of the dense sum, and cutting it loses exactly the singular values that are cut."""

import pytest
import torch

from tests.conftest import each
from yosegi.errors import Invalid
from yosegi.merges import merge
from yosegi.merges.svd import svd

E, R = 3, 2
SHAPES = [(9, 8), (20, 7), (5, 4)]  # the last is smaller than E R


def draw(O, I, weights=(0.2, -0.5, 1.3)):
    A, B, w = torch.randn(E, R, I).double(), torch.randn(E, O, R).double(), torch.tensor(weights).double()
    return A, B, w, sum(w[e] * B[e] @ A[e] for e in range(E))


@each("shape", SHAPES)
@each("rank", [1, 2, 3, 6, 50])
def test_is_the_truncated_dense_svd(shape, rank):
    A, B, w, dense = draw(*shape)
    got_A, got_B, lost, total = svd(A, B, w, rank)
    U, S, V = torch.linalg.svd(dense, full_matrices=False)
    torch.testing.assert_close(got_B @ got_A, (U[:, :rank] * S[:rank]) @ V[:rank], atol=1e-12, rtol=0)
    torch.testing.assert_close((dense - got_B @ got_A).square().sum(), S[rank:].square().sum(), atol=1e-12, rtol=0)
    assert len(got_A) == got_B.shape[1] == min(rank, E * R, *shape)
    assert lost == pytest.approx(float(S[rank:].square().sum()), abs=1e-11)
    assert total == pytest.approx(float(dense.square().sum()))


def test_the_whole_rank_loses_nothing_and_shows_the_dense_spectrum():
    A, B, w, dense = draw(20, 9)
    got_A, got_B, _, _ = svd(A, B, w, E * R)
    torch.testing.assert_close(got_B @ got_A, dense, atol=1e-12, rtol=0)
    S = torch.linalg.svdvals(dense)[: E * R]
    for gram in (got_A @ got_A.T, got_B.T @ got_B):  # the singular values are shared evenly
        torch.testing.assert_close(gram, S.diag(), atol=1e-12, rtol=0)


def test_the_default_rank_is_that_of_the_widest():
    A, B, w, _ = draw(9, 8)
    assert len(svd(A, B, w)[0]) == R


@each("rank", [0, -1])
def test_it_needs_a_rank(rank):
    with pytest.raises(Invalid, match=f"rank={rank}"):
        svd(*draw(9, 8)[:3], rank)


def test_nothing_to_say():
    A, B, _, _ = draw(9, 8)
    got_A, got_B, _, _ = svd(A, B, torch.zeros(E).double())
    assert got_A.isfinite().all() and got_B.isfinite().all()
    torch.testing.assert_close(got_B @ got_A, torch.zeros(9, 8).double())


@pytest.mark.parametrize("weights", [[0.5, 0.5], [1.0, -0.7]])
def test_peft_agrees_and_the_scale_enters_once(make, peer, tmp_path, weights):
    """Scales other than 1: before PEFT #3111 they entered twice."""
    experts = [make("a", scale=3.0), make("b", scale=0.25)]
    add, added = peer(experts, tmp_path)
    add(["a", "b"], weights, "theirs", "svd", svd_rank=3)
    merged = merge(experts, "svd", weights, rank=3)
    for layer in ("q", "v", "k"):
        torch.testing.assert_close(merged.delta(layer), added("theirs", layer), atol=1e-4, rtol=0)
    whole = merge(experts, "svd", weights, rank="full")
    for layer in ("q", "v", "k"):
        want = sum(w * e.delta(layer) for w, e in zip(weights, experts, strict=True))
        torch.testing.assert_close(whole.delta(layer), want, atol=1e-4, rtol=0)
