"""SVD: the weighted sum of the deltas, cut to the best expert of a given rank (Eckart and Young 1936).

    [w_1 B_1 … w_E B_E] = Q_b r_b,   [A_1; …; A_E]ᵀ = Q_a r_a,   SVD of the small core r_b r_aᵀ

The O x I delta is never built: the cost is (O + I)(E R)² instead of O I min(O, I), with the same singular values.
"""

import torch
from torch import Tensor

from yosegi.errors import Invalid


def svd(A_ERI: Tensor, B_EOR: Tensor, w_E: Tensor, rank: int | None = None) -> tuple[Tensor, Tensor]:
    """One layer's experts -> one expert.

    Args:
        A_ERI: the experts of the layer.
        B_EOR: theirs, with their scales.
        w_E: their weights.
        rank: of the result; by default that of the widest expert.
    """
    if rank is not None and rank < 1:
        raise Invalid(f"rank={rank}: an expert needs a rank of at least 1.")
    q_IK, a_KX = torch.linalg.qr(A_ERI.flatten(0, 1).mT)
    q_OK, b_KX = torch.linalg.qr((w_E[:, None, None] * B_EOR).movedim(0, 1).flatten(1))
    U_KK, S_K, V_KK = torch.linalg.svd(b_KX @ a_KX.mT, full_matrices=False)
    keep = min(rank or A_ERI.shape[1], len(S_K))
    root_R = S_K[:keep].sqrt()
    return root_R[:, None] * (V_KK[:keep] @ q_IK.mT), (q_OK @ U_KK[:, :keep]) * root_R
