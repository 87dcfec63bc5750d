"""KnOTS: express the experts in shared coordinates, and merge them there entry by entry.

    [ΔW_1 | … | ΔW_E] = U Σ [V_1 | … | V_E]ᵀ,   T_e = Σ V_eᵀ = Uᵀ ΔW_e,   ΔW = U merge(T_1, …, T_E)

Stoica et al. 2025, "Model merging with SVD to tie the KnOTS", arXiv:2410.19735. The concatenation is never built: B_1 … B_E
side by side are Q [R_1 … R_E], and U and Σ are those of the small [R_1 a_1ᵀ … R_E a_Eᵀ] where A_eᵀ = q_e a_e. A plain sum is
linear and so the same in any coordinates; trimming, dropping and electing are not. T has at most E R rows, and the result at
most that rank before it is cut. The default weights are 1 each.
"""

import torch
from torch import Tensor

from yosegi.merges._entries import By
from yosegi.merges._layers import Layer, each

NOTHING = 1e-9
"""Singular values below this share of the largest are rounding."""


class Knots(By):
    """Args:
    by: ties, dare, dare_ties or task_arithmetic.
    density: the share of each expert's coordinates that ties keeps (1).
    drop: the probability that dare and dare_ties drop a coordinate (0.8).
    seed: seed of the dropped coordinates.
    rank: the rank of the result; by default that of the widest expert; "full" for no cut.
    """

    def coordinates(self, layer: Layer) -> tuple[Tensor, Tensor]:
        """Returns L and U: T_e = L_e A_e, and the delta is U T."""
        q_OX, b_XY = torch.linalg.qr(layer.B_EOR.double().movedim(0, 1).flatten(1))
        b_EXR = b_XY.unflatten(1, (len(layer.experts), -1)).movedim(1, 0)
        a_EZR = torch.linalg.qr(layer.A_ERI.double().mT, mode="r").R
        U_XK, S_K, _ = torch.linalg.svd((b_EXR @ a_EZR.mT).movedim(0, 1).flatten(1), full_matrices=False)
        U_XK = U_XK[:, : max(1, int((NOTHING * S_K[0] < S_K).sum()))]
        return (U_XK.mT @ b_EXR).float(), (q_OX @ U_XK).float()


weights = each
