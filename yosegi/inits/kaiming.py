"""Kaiming: A uniform in ±1/√I (Kaiming with a=√5), B = 0, LoRA's own initialisation and PEFT's default.

Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models", arXiv:2106.09685.
"""

import torch
from torch import Generator, Tensor


def kaiming(W_OI: Tensor, rank: int, scale: float, generator: Generator) -> tuple[Tensor, Tensor]:
    """Returns (A [R, I], B [O, R]) of one layer."""
    O, I = W_OI.shape
    return torch.empty(rank, I).uniform_(-(I**-0.5), I**-0.5, generator=generator), torch.zeros(O, rank)
