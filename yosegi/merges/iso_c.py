"""Iso-C: the weighted sum of the deltas with all its singular values set to their mean, so that no direction drowns the others.

    Σ w ΔW = U S Vᵀ,   ΔW = mean(S) U Vᵀ

Marczak et al. 2025, "No task left behind: isotropic model merging with common and task-specific subspaces", arXiv:2502.04959.
The sum has at most E R singular values above zero, and the mean is over these; the paper's deltas of full weights have as many as
the layer is wide. Where a single expert has the layer there is nothing to even out, and it stays as it is. The default weights
are 1 each, and weights of α each are the paper's scale α.
"""

from torch import Tensor

from yosegi.merges._cut import NOTHING, Cut, cut_factors, width
from yosegi.merges._layers import each, weighted_sum


def iso_c(A_ERI: Tensor, B_EOR: Tensor, w_E: Tensor, rank: int | str | None = "full") -> Cut:
    """Returns one expert for a layer.

    Args:
        A_ERI: the experts' A.
        B_EOR: the experts' B with their scales.
        w_E: the weights.
        rank: the rank of the result; "full" (the default) for no cut; null for that of the widest expert. A cut keeps the
            directions whose singular values were the largest.
    """
    A_XI, B_OX = weighted_sum(A_ERI, B_EOR, w_E)
    whole = cut_factors(A_XI, B_OX, min(len(A_XI), *A_XI.shape, *B_OX.shape))
    S_K = whole.A_RI.double().norm(dim=1).square()  # both factors hold the root of each
    if len(A_ERI) == 1 or not S_K[0]:
        return cut_factors(A_XI, B_OX, width(rank, A_ERI.shape[1], len(A_XI)))
    K = int((NOTHING * S_K[0] < S_K).sum())
    mean, R = S_K[:K].mean(), width(rank, A_ERI.shape[1], K)
    even_R = (mean / S_K[:R]).sqrt().to(A_XI.dtype)
    lost, total = float(mean.square()) * (K - R), float(mean.square()) * K
    return Cut(even_R[:, None] * whole.A_RI[:R], whole.B_OR[:, :R] * even_R, lost, total)


weights = each
