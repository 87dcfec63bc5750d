"""The singular values and input directions of every expert's delta, without building a delta.

Shapes: E experts, R rank, I in, O out.
"""

import torch
from torch import Tensor


@torch.no_grad()
def spectra(A_ERI: Tensor, B_EOR: Tensor) -> tuple[Tensor, Tensor]:
    """B A = U diag(S) V, expert by expert: S [E, R], largest first, and V [E, R, I], orthonormal rows, in fp32.

    Two thin QRs shrink the O x I delta to an R x R problem. The sign of a singular vector means nothing. Rows of V whose S is
    zero span nothing of the delta.
    """
    q_EIR, a_ERR = torch.linalg.qr(A_ERI.float().mT)  # A = aᵀ qᵀ
    b_ERR = torch.linalg.qr(B_EOR.float(), mode="r").R  # B = (an isometry) b
    _, S_ER, v_ERR = torch.linalg.svd(b_ERR @ a_ERR.mT)
    return S_ER, v_ERR @ q_EIR.mT
