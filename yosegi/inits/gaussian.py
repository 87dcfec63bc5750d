"""Gaussian: A ~ N(0, 1/R²), B = 0, LoRA's initialisation as diffusion models use it.

Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models", arXiv:2106.09685.
"""

import torch
from torch import Generator, Tensor


def gaussian(W_OI: Tensor, rank: int, scale: float, generator: Generator) -> tuple[Tensor, Tensor]:
    """Returns (A [R, I], B [O, R]) of one layer."""
    O, I = W_OI.shape
    return torch.empty(rank, I).normal_(0, 1 / rank, generator=generator), torch.zeros(O, rank)
