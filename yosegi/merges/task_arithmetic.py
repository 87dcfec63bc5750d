"""Task arithmetic: add the deltas, each λ times. Exact; the ranks add up.

Ilharco et al. 2023, "Editing Models with Task Arithmetic", arXiv:2212.04089. Unlike an average it does not shrink as experts
are added: with equal weights every delta enters λ = `scaling` times. For many tasks 0.3 to 0.4 is usual.
"""

from torch import Tensor


def task_arithmetic(A_ERI: Tensor, B_EOR: Tensor, w_E: Tensor, scaling: float = 1.0) -> tuple[Tensor, Tensor]:
    """One layer's experts -> one wider expert (A [ER, I], B [O, ER]).

    Args:
        A_ERI: the experts of the layer.
        B_EOR: theirs, with their scales.
        w_E: their weights; 1/E each means λ = `scaling` each.
        scaling: λ.
    """
    λ_E = scaling * len(w_E) * w_E
    return A_ERI.flatten(0, 1), (λ_E[:, None, None] * B_EOR).movedim(0, 1).flatten(1)
