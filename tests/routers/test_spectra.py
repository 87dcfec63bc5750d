"""Singular values and directions, held against the SVD of each dense delta in fp64."""

import torch

from tests.conftest import each
from yosegi.routers._spectra import by_gram, by_qr, spectra

E, R, I, O = 6, 5, 40, 30


def plain():
    return torch.randn(E, R, I), torch.randn(E, O, R)


def padded():
    """Ranks 5, 4, 3, 2, 1, and an expert that is not there."""
    A, B = plain()
    for e in range(E):
        A[e, R - e :], B[e, :, R - e :] = 0, 0
    return A, B


def half_padded():
    """A row of A that is zero under a column of B that is not, and the other way round."""
    A, B = plain()
    A[0, 2], B[1, :, 3], A[2, 0], B[2, :, 4] = 0, 0, 0, 0
    return A, B


def fresh():
    """B = 0, as before training."""
    A, B = plain()
    return A, torch.zeros_like(B)


def nearly_deficient():
    """Two rows of A, or two columns of B, that differ by ever less; the last two not at all."""
    A, B = plain()
    for e, apart in enumerate((1e-2, 1e-4, 1e-5, 1e-6)):
        A[e, 1] = A[e, 0] + apart * A[e, 1]
        B[e, :, 3] = B[e, :, 4] + apart * B[e, :, 3]
    A[4, 1], B[5, :, 3] = A[4, 0], B[5, :, 4]
    return A, B


def cancelling():
    """What training has moved by a thousandth since the origin: B A - B₀ A₀."""
    A, B = torch.randn(E, 2, I), torch.randn(E, O, 2)
    moved_A, moved_B = A + 1e-3 * torch.randn_like(A), B + 1e-3 * torch.randn_like(B)
    return torch.cat([moved_A, A], 1), torch.cat([moved_B, -B], 2)


def decaying():
    """Singular values of 1, 1/10, 1/100 …"""
    A, B = plain()
    turn = torch.linalg.qr(torch.randn(E, R, R)).Q
    return torch.linalg.qr(A.mT).Q.mT, torch.linalg.qr(B).Q * 0.1 ** torch.arange(R) @ turn


def unequal_rows():
    """The condition number is large and means nothing: rows of A of very different lengths."""
    A, B = plain()
    return A * 0.1 ** torch.arange(R)[:, None], B * 10.0 ** torch.arange(R)


def bf16():
    A, B = plain()
    return A.bfloat16(), B.bfloat16()


def single():
    return torch.randn(E, 1, I), torch.randn(E, O, 1)


def rank_beyond_inputs():
    return torch.randn(E, R, R - 2), torch.randn(E, O, R)


def rank_beyond_outputs():
    return torch.randn(E, R, I), torch.randn(E, R - 2, R)


CASES = [
    rank_beyond_inputs,
    rank_beyond_outputs,
    plain,
    padded,
    half_padded,
    fresh,
    nearly_deficient,
    cancelling,
    decaying,
    unequal_rows,
    bf16,
    single,
]


def degrees(v_EI, w_EI):
    """The angle between two unit directions, whichever way they point."""
    off_E = torch.minimum((v_EI - w_EI).norm(dim=-1), (v_EI + w_EI).norm(dim=-1))
    return torch.rad2deg(2 * torch.asin((off_E / 2).clamp(max=1)))


@each("case", CASES)
@each("seed", range(3))
def test_it_is_the_svd_of_the_dense_delta(case, seed):
    torch.manual_seed(seed)
    A_ERI, B_EOR = case()
    S_ER, V_ERI = spectra(A_ERI, B_EOR)
    assert S_ER.dtype == V_ERI.dtype == torch.float32 and V_ERI.shape == A_ERI.shape and V_ERI.isfinite().all()
    delta_EOI = B_EOR.double() @ A_ERI.double()
    _, want_S, want_V = torch.linalg.svd(delta_EOI, full_matrices=False)
    largest_E = want_S[:, 0]
    want_S = torch.nn.functional.pad(want_S, (0, R))[:, : S_ER.shape[1]]
    assert ((S_ER - want_S).abs().amax(1) <= 1e-4 * largest_E).all()
    there_E = largest_E > 0
    assert (degrees(V_ERI[there_E, 0].double(), want_V[there_E, 0]) <= 0.01).all()
    clear_ER = 1e-3 * largest_E[:, None] < S_ER  # the directions that say something are orthonormal, and stretched by S
    for V_RI, S_R, clear_R, delta_OI in zip(V_ERI.double(), S_ER, clear_ER, delta_EOI, strict=True):
        V_RI = V_RI[clear_R]
        torch.testing.assert_close(V_RI @ V_RI.T, torch.eye(len(V_RI)).double(), atol=1e-3, rtol=0)
        torch.testing.assert_close((delta_OI @ V_RI.T).norm(dim=0), S_R[clear_R].double(), rtol=1e-3, atol=0)


def test_how_a_delta_is_factored_does_not_matter():
    A_ERI, B_EOR = plain()
    turn_ERR = torch.randn(E, R, R)
    S_ER, V_ERI = spectra(A_ERI, B_EOR)
    other_S, other_V = spectra(turn_ERR @ A_ERI, B_EOR @ torch.linalg.inv(turn_ERR))
    torch.testing.assert_close(other_S, S_ER, rtol=1e-3, atol=1e-3)
    assert (degrees(V_ERI[:, 0], other_V[:, 0]) <= 0.02).all()


def test_gram_matrices_know_where_they_are_not_good_enough():
    for case in (plain, padded, fresh, single):
        assert by_gram(*case())[2].all(), case.__name__
    A_ERI, B_EOR = nearly_deficient()
    sure_E = by_gram(A_ERI, B_EOR)[2]
    assert not sure_E[1:].any()
    assert not by_gram(*cancelling())[2].any()
    twins = torch.eye(I)[None, :2], torch.eye(O)[None, :, :2]  # S = 1, 1: every direction between the two would do
    assert not by_gram(*twins)[2].any()


def test_one_bad_expert_does_not_make_the_others_slow(monkeypatch):
    A_ERI, B_EOR = plain()
    A_ERI[3, 1] = A_ERI[3, 0]
    asked = []
    monkeypatch.setattr("yosegi.routers._spectra.by_qr", lambda *args: asked.append(len(args[0])) or by_qr(*args))
    spectra(A_ERI, B_EOR)
    assert asked == [1]


def test_the_first_directions_alone():
    A_ERI, B_EOR = nearly_deficient()
    S_ER, V_ERI = spectra(A_ERI, B_EOR)
    top_S, top_V = spectra(A_ERI, B_EOR, top=2)
    assert top_V.shape == (E, 2, I) and torch.equal(top_S, S_ER)
    torch.testing.assert_close(top_V, V_ERI[:, :2], rtol=1e-4, atol=1e-5)
