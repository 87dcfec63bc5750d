"""TSV-Merge: the strongest singular triples of each expert, made orthogonal to those of the others before they are added.

    ΔW_e ≈ U_e S_e V_eᵀ at rank R / E,   U = [U_1 | … | U_E],   ΔW = polar(U) diag(w S) polar(V)ᵀ

Gargiulo et al. 2025, "Task singular vectors: reducing task interference in model merging", arXiv:2412.00081. polar(U) is the
nearest matrix with orthonormal columns (Procrustes): P Qᵀ of the SVD P D Qᵀ of U. The triples of an expert are orthogonal among
each other, so a single expert stays as it is. The default weights are 1 each.
"""

import torch
from torch import Tensor

from yosegi import files
from yosegi.errors import Invalid
from yosegi.merges._cut import NOTHING, Cut, cut_factors, width
from yosegi.merges._layers import each


def tsv(A_ERI: Tensor, B_EOR: Tensor, w_E: Tensor, share: float | None = None, rank: int | str | None = None) -> Cut:
    """Returns one expert for a layer.

    Args:
        A_ERI: the experts' A.
        B_EOR: the experts' B with their scales.
        w_E: the weights.
        share: of the triples of each expert that are kept, one at least; by default 1 / E: the result is as wide as one expert.
        rank: the rank of the result; by default that of the widest expert; "full" for no cut.
    """
    E, R, _ = A_ERI.shape
    if share is not None and (not files.is_finite(share) or not 0 < share <= 1):
        raise Invalid(f"share={share!r}: it must be the share of triples to keep, above 0 and at most 1.")
    keep, parts = max(1, round(R * (1 / E if share is None else share))), []
    for A_RI, B_OR, w in zip(A_ERI, B_EOR, w_E, strict=True):
        triples = cut_factors(A_RI, B_OR, min(keep, *A_RI.shape, *B_OR.shape))
        S_K = triples.A_RI.norm(dim=1).square()  # both factors hold the root of each
        real = (NOTHING * S_K.max() < S_K) & (S_K > 0) & bool(w)
        root_K = S_K[real].sqrt()
        parts.append((triples.A_RI[real] / root_K[:, None], triples.B_OR[:, real] / root_K, w * S_K[real]))
    V_KI, U_OK, S_K = (torch.cat([part[n] for part in parts], 1 if n == 1 else 0) for n in range(3))
    if not len(S_K):
        return cut_factors(A_ERI[0] * 0, B_EOR[0] * 0, width(rank, R, R))
    return cut_factors(_polar(V_KI.mT).mT, _polar(U_OK) * S_K, width(rank, R, len(S_K)))


def _polar(X_NK: Tensor) -> Tensor:
    """Returns the nearest matrix with orthonormal columns; with orthonormal rows where it is wider than high."""
    P_NZ, _, Q_ZK = torch.linalg.svd(X_NK.double(), full_matrices=False)
    return (P_NZ @ Q_ZK).to(X_NK.dtype)


weights = each
