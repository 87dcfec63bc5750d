"""Linear: the average of A times the average of B. Cheap, keeps the rank, and is *not* the average of the deltas.

(Σ w B)(Σ w A) has the cross terms B_i A_j, which are noise among experts with different initialisations. It is the uniform
merge of Ostapenko et al. 2024, arXiv:2405.11157, and serves as a baseline. The card has its error.
"""

from torch import Tensor

from yosegi.errors import Invalid


def linear(A_ERI: Tensor, B_EOR: Tensor, w_E: Tensor) -> tuple[Tensor, Tensor]:
    """Returns one expert of the same rank for a layer."""
    if (w_E < 0).any():
        raise Invalid("linear applies each weight to A and to B, so a negative weight cancels itself: use svd or cat.")
    zero_ER = (A_ERI == 0).all(-1)  # a row of zeros is the padding of a smaller rank
    if bool((zero_ER.any(0) & ~zero_ER.all(0)).any()):
        raise Invalid("linear averages A and B row by row, so every expert needs the same rank: use svd or cat.")
    return (w_E[:, None, None] * A_ERI).sum(0), (w_E[:, None, None] * B_EOR).sum(0)
