"""Normal: A, B ~ N(0, 0.01²), as in LoRA-PAR's released code; with B = 0 every importance would be 0.

Huang et al. 2025, "LoRA-PAR: A Flexible Dual-System LoRA Partitioning Approach", arXiv:2507.20999.
The released code continues from the changed base W + s B₀ A₀. Here B₀ A₀ is subtracted, as for every initialiser with B ≠ 0.
"""

import torch
from torch import Generator, Tensor


def normal(W_OI: Tensor, rank: int, scale: float, generator: Generator, std: float = 0.01) -> tuple[Tensor, Tensor]:
    """Returns (A [R, I], B [O, R]) of one layer."""
    O, I = W_OI.shape
    A_RI = torch.empty(rank, I).normal_(0, std, generator=generator)
    return A_RI, torch.empty(O, rank).normal_(0, std, generator=generator)
