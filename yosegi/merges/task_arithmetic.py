"""Task arithmetic: the sum of the deltas, each times λ. Exact; the ranks add up.

Ilharco et al. 2023, "Editing Models with Task Arithmetic", arXiv:2212.04089. The same sum as `cat` with other default
weights: λ = 1 each, so that nothing shrinks as experts are added. With many tasks 0.3 to 0.4 is usual.
"""

from torch import Tensor

from yosegi.merges._layers import each, weighted_sum

EXACT = True
"""The result is Σ w ΔW itself."""


weights = each


def task_arithmetic(A_ERI: Tensor, B_EOR: Tensor, w_E: Tensor) -> tuple[Tensor, Tensor]:
    """Returns one wider expert (A [ER, I], B [O, ER]) for a layer."""
    return weighted_sum(A_ERI, B_EOR, w_E)
