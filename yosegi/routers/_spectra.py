"""The singular values and right singular vectors of every expert's delta, without building a delta.

The O x I delta shrinks to an R x R problem in two ways. Thin QRs are exact. Gram matrices are several times faster, but
square the condition number: they are used for the experts where they are accurate enough, and QR for the others. Shapes: E
experts, R rank, I in, O out.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

from yosegi.core.bank import Bank

NOTHING = 1e-5
"""A singular value below this share of the largest is rounding, and its direction does not count."""
TOLERANCE = 1e-4
"""The allowed error of a first direction, in radians (0.006°), and of a singular value, relative to the largest."""


@torch.no_grad()
def spectra(A_ERI: Tensor, B_EOR: Tensor, top: int | None = None) -> tuple[Tensor, Tensor]:
    """Returns S [E, R], largest first, and V [E, R, I] with orthonormal rows, where B A = U diag(S) V for each expert; in fp32.

    `top` limits the rows of V. The sign of a singular vector means nothing. Rows of V whose S is zero do not belong to the delta
    and are merely finite.
    """
    A_ERI, B_EOR = A_ERI.float(), B_EOR.float()
    S_ER, V_ERI, sure_E = by_gram(A_ERI, B_EOR, top)
    if not sure_E.all():
        rest_E = (~sure_E).nonzero().squeeze(1)
        S_ER[rest_E], V_ERI[rest_E] = by_qr(A_ERI[rest_E], B_EOR[rest_E], top)
    return S_ER, V_ERI


@torch.no_grad()
def readers(bank: Bank, weighted: bool = False) -> Tensor:
    """Returns rows [E, R, I] whose products with x have ‖Vᵀx‖ / √rank of each expert as their norm, or ‖ΔW x‖ with `weighted`."""
    S_ER, V_ERI = spectra(*bank.stacked())
    used_ER = S_ER.gt(NOTHING * S_ER[:, :1]).to(S_ER)
    if weighted:
        each_ER = used_ER * S_ER * bank.scale_E.abs()[:, None].to(S_ER)
    else:
        each_ER = used_ER / used_ER.sum(-1, keepdim=True).clamp(min=1).sqrt()
    return each_ER[..., None] * V_ERI


def by_qr(A_ERI: Tensor, B_EOR: Tensor, top: int | None = None) -> tuple[Tensor, Tensor]:
    """Computes the same by two thin QRs in fp64 and the SVD of the R x R core."""
    q_EIR, a_ERR = torch.linalg.qr(A_ERI.double().mT)  # A = aᵀ qᵀ
    b_ERR = torch.linalg.qr(B_EOR.double(), mode="r").R  # B = (an isometry) b
    _, S_ER, v_ERR = torch.linalg.svd(b_ERR @ a_ERR.mT, full_matrices=False)
    missing = A_ERI.shape[1] - S_ER.shape[1]  # where R is more than I or O
    S_ER, v_ERR = pad(S_ER, (0, missing)), pad(v_ERR, (0, 0, 0, missing))
    return S_ER.float(), (v_ERR[:, :top] @ q_EIR.mT).float()


def by_gram(A_ERI: Tensor, B_EOR: Tensor, top: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Computes the same by Gram matrices: A Aᵀ = l lᵀ, and lᵀ BᵀB l has the eigenvalues S². Also returns [E]: is it accurate?"""
    a_ERR, b_ERR = (A_ERI @ A_ERI.mT).double(), (B_EOR.mT @ B_EOR).double()
    a_ER, b_ER = a_ERR.diagonal(dim1=1, dim2=2), b_ERR.diagonal(dim1=1, dim2=2)
    padding_ERR = (a_ER == 0).double().diag_embed()  # rows of zeros: any l would do, so take 1
    l_ERR, failed_E = torch.linalg.cholesky_ex(a_ERR + padding_ERR)
    one_RR = torch.eye(l_ERR.shape[-1], dtype=l_ERR.dtype, device=l_ERR.device)
    l_ERR = l_ERR.where(failed_E[:, None, None] == 0, one_RR)  # eigh refuses infinities
    inverse_ERR = torch.linalg.solve_triangular(l_ERR, one_RR, upper=False)
    l_ERR = l_ERR - padding_ERR
    SS_ER, v_ERR = torch.linalg.eigh(l_ERR.mT @ b_ERR @ l_ERR)
    SS_ER, v_ERR = SS_ER.clamp(min=0).flip(1), v_ERR.mT.flip(1)

    # Rounding changes S² by eps·κ² of the largest, and a direction by that over the gap; κ: of A with rows of equal length.
    doubt_E = torch.finfo(A_ERI.dtype).eps * (inverse_ERR.square() @ a_ER[..., None]).mean((1, 2)) * SS_ER[:, 0]
    last_E = SS_ER.gather(1, ((a_ER * b_ER > 0).sum(1, keepdim=True) - 1).clamp(min=0)).squeeze(1)
    gap_E = SS_ER[:, 0] - SS_ER[:, 1] if SS_ER.shape[1] > 1 else SS_ER[:, 0]
    sure_E = (failed_E == 0) & (doubt_E <= TOLERANCE * torch.minimum(gap_E, 2 * (SS_ER[:, 0] * last_E).sqrt()))
    return SS_ER.sqrt().float(), (v_ERR[:, :top] @ inverse_ERR).float() @ A_ERI, sure_E
