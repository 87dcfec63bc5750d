"""Cuts: as good as the dense SVD, and honest about what they lost."""

import pytest
import torch

from tests.conftest import each
from yosegi.errors import Invalid
from yosegi.merges._cut import cut_dense, cut_factors, width


def best(D, rank):
    S = torch.linalg.svdvals(D.double())
    return float(S[rank:].square().sum()), float(S.square().sum())


@each("rank", [1, 2, 5, 8])
def test_factors_are_cut_as_the_dense_svd_cuts(rank):
    A, B = torch.randn(8, 11).double(), torch.randn(9, 8).double()
    cut = cut_factors(A, B, rank)
    U, S, V = torch.linalg.svd(B @ A)
    torch.testing.assert_close(cut.B_OR @ cut.A_RI, (U[:, :rank] * S[:rank]) @ V[:rank], atol=1e-11, rtol=0)
    assert (cut.lost, cut.total) == pytest.approx(best(B @ A, rank), abs=1e-11)


@each("shape", [(30, 20), (20, 30), (300, 200), (150, 400)])
@each("rank", [1, 4, 20])
@each("spectrum", ["noise", "sparse", "low rank"])
def test_a_dense_delta_is_cut_nearly_as_well_as_can_be(shape, rank, spectrum):
    D = torch.randn(shape)
    if spectrum == "sparse":
        D = D * (torch.rand(shape) < 0.1)
    if spectrum == "low rank":
        D = torch.randn(shape[0], 6) @ torch.randn(6, shape[1]) + 0.01 * D
    cut, (lost, total) = cut_dense(D, rank), best(D, rank)
    assert cut.A_RI.shape == (rank, shape[1]) and cut.B_OR.shape == (shape[0], rank)
    really = float((D.double() - cut.B_OR.double() @ cut.A_RI.double()).square().sum())
    assert cut.total == pytest.approx(total, rel=1e-5)
    assert cut.lost == pytest.approx(really, rel=1e-3, abs=1e-9 * total)
    assert lost * (1 - 1e-5) - 1e-9 * total <= really <= 1.01 * lost + 1e-9 * total


@each("shape", [(6, 9), (9, 6), (7, 7)])
def test_the_full_rank_is_the_delta_itself(shape):
    D = torch.randn(shape)
    cut = cut_dense(D, 50)
    assert torch.equal(cut.B_OR @ cut.A_RI, D) and cut.lost == 0 and len(cut.A_RI) == min(shape)


def test_the_same_twice_whatever_was_drawn_before():
    D = torch.randn(300, 200)
    one = cut_dense(D, 4)
    torch.randn(99)
    assert torch.equal(one.A_RI, cut_dense(D, 4).A_RI)


def test_nothing_to_cut():
    for cut in (cut_dense(torch.zeros(300, 200), 3), cut_factors(torch.zeros(4, 9), torch.zeros(8, 4), 2)):
        assert cut.lost == cut.total == 0 and not (cut.B_OR @ cut.A_RI).any()
        assert cut.A_RI.isfinite().all() and cut.B_OR.isfinite().all()


def test_width():
    assert [width(r, 4, 9) for r in (None, 2, 50, "full")] == [4, 2, 9, 9] and width(None, 4, 3) == 3
    for wrong in (0, -1, "half", 2.5, True):
        with pytest.raises(Invalid, match=f"rank={wrong!r}"):
            width(wrong, 4, 9)
