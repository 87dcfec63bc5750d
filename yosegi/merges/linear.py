"""Linear: average A and average B, apart. Cheap, keeps the rank, and is *not* the average of the deltas.

(Σ w B)(Σ w A) holds the cross terms B_i A_j; among experts with different starts they are noise. This is the weighted merge
of Ostapenko et al. 2024, arXiv:2405.11157 (their uniform routing), kept as the baseline it is. The card tells its error.
"""

from torch import Tensor

from yosegi.errors import Invalid


def linear(A_ERI: Tensor, B_EOR: Tensor, w_E: Tensor) -> tuple[Tensor, Tensor]:
    """One layer's experts -> one expert of the same rank."""
    if (w_E < 0).any():
        raise Invalid(
            "linear multiplies each weight into A and into B, so a negative one cancels itself: use svd or cat."
        )
    zero_ER = (A_ERI == 0).all(-1)  # a row of zeros is padding: that expert's rank is smaller
    if bool((zero_ER.any(0) & ~zero_ER.all(0)).any()):
        raise Invalid("linear averages A and B row by row, so every expert needs the same rank: use svd or cat.")
    return (w_E[:, None, None] * A_ERI).sum(0), (w_E[:, None, None] * B_EOR).sum(0)
