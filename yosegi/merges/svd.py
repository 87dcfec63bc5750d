"""SVD: the best approximation of the weighted sum of the deltas at a given rank (Eckart and Young 1936).

    [w_1 B_1 … w_E B_E] = Q_b r_b,   [A_1; …; A_E]ᵀ = Q_a r_a,   SVD of the small core r_b r_aᵀ

The O x I delta is never built: the cost is (O + I)(E R)² instead of O I min(O, I), with the same singular values.
"""

from torch import Tensor

from yosegi.merges._cut import Cut, cut_factors, width
from yosegi.merges._layers import weighted_sum

EXACT = True
"""Before the cut the result is Σ w ΔW itself."""


def svd(A_ERI: Tensor, B_EOR: Tensor, w_E: Tensor, rank: int | str | None = None) -> Cut:
    """Returns one expert for a layer.

    Args:
        A_ERI: the experts' A.
        B_EOR: the experts' B with their scales.
        w_E: the weights.
        rank: the rank of the result; by default that of the widest expert; "full" for no cut.
    """
    A_XI, B_OX = weighted_sum(A_ERI, B_EOR, w_E)
    return cut_factors(A_XI, B_OX, width(rank, A_ERI.shape[1], len(A_XI)))
