"""The singular values and input directions of every expert's delta, without building a delta.

Two ways shrink the O x I delta to an R x R problem. Thin QRs are exact. Gram matrices are several times faster, but square
the condition number: they are used where they are good enough, expert by expert, and QR does the rest.
Shapes: E experts, R rank, I in, O out.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

TOLERANCE = 1e-4
"""What a first direction may be off by, in radians (0.006°), and a singular value, relative to the largest."""


@torch.no_grad()
def spectra(A_ERI: Tensor, B_EOR: Tensor, top: int | None = None) -> tuple[Tensor, Tensor]:
    """B A = U diag(S) V, expert by expert: S [E, R], largest first, and V [E, R, I], orthonormal rows, in fp32.

    With `top`, only so many rows of V. The sign of a singular vector means nothing. Rows of V whose S is zero span nothing of
    the delta: they are finite, and no more is said of them.
    """
    A_ERI, B_EOR = A_ERI.float(), B_EOR.float()
    S_ER, V_ERI, sure_E = by_gram(A_ERI, B_EOR, top)
    if not sure_E.all():
        rest_E = (~sure_E).nonzero().squeeze(1)
        S_ER[rest_E], V_ERI[rest_E] = by_qr(A_ERI[rest_E], B_EOR[rest_E], top)
    return S_ER, V_ERI


def by_qr(A_ERI: Tensor, B_EOR: Tensor, top: int | None = None) -> tuple[Tensor, Tensor]:
    """Two thin QRs in fp64, then the SVD of what is left."""
    q_EIR, a_ERR = torch.linalg.qr(A_ERI.double().mT)  # A = aᵀ qᵀ
    b_ERR = torch.linalg.qr(B_EOR.double(), mode="r").R  # B = (an isometry) b
    _, S_ER, v_ERR = torch.linalg.svd(b_ERR @ a_ERR.mT, full_matrices=False)
    missing = A_ERI.shape[1] - S_ER.shape[1]  # where R is more than I or O
    S_ER, v_ERR = pad(S_ER, (0, missing)), pad(v_ERR, (0, 0, 0, missing))
    return S_ER.float(), (v_ERR[:, :top] @ q_EIR.mT).float()


def by_gram(A_ERI: Tensor, B_EOR: Tensor, top: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """A Aᵀ = l lᵀ, and lᵀ BᵀB l has the squares of S and the directions V in the basis l⁻¹A; and [E], where to believe it."""
    a_ERR, b_ERR = (A_ERI @ A_ERI.mT).double(), (B_EOR.mT @ B_EOR).double()
    a_ER, b_ER = a_ERR.diagonal(dim1=1, dim2=2), b_ERR.diagonal(dim1=1, dim2=2)
    padding_ERR = (a_ER == 0).double().diag_embed()  # rows of zeros: any l would do, so let there be one
    l_ERR, failed_E = torch.linalg.cholesky_ex(a_ERR + padding_ERR)
    one_RR = torch.eye(l_ERR.shape[-1], dtype=l_ERR.dtype, device=l_ERR.device)
    l_ERR = l_ERR.where(failed_E[:, None, None] == 0, one_RR)  # eigh takes no infinities
    inverse_ERR = torch.linalg.solve_triangular(l_ERR, one_RR, upper=False)
    l_ERR = l_ERR - padding_ERR
    SS_ER, v_ERR = torch.linalg.eigh(l_ERR.mT @ b_ERR @ l_ERR)
    SS_ER, v_ERR = SS_ER.clamp(min=0).flip(1), v_ERR.mT.flip(1)

    # Rounding moves S² by eps·κ² of the largest, and a direction by that over the gap; κ is A's with its rows at equal length.
    doubt_E = torch.finfo(A_ERI.dtype).eps * (inverse_ERR.square() @ a_ER[..., None]).mean((1, 2)) * SS_ER[:, 0]
    last_E = SS_ER.gather(1, ((a_ER * b_ER > 0).sum(1, keepdim=True) - 1).clamp(min=0)).squeeze(1)
    gap_E = SS_ER[:, 0] - SS_ER[:, 1] if SS_ER.shape[1] > 1 else SS_ER[:, 0]
    sure_E = (failed_E == 0) & (doubt_E <= TOLERANCE * torch.minimum(gap_E, 2 * (SS_ER[:, 0] * last_E).sqrt()))
    return SS_ER.sqrt().float(), (v_ERR[:, :top] @ inverse_ERR).float() @ A_ERI, sure_E
