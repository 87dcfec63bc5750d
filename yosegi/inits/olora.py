"""OLoRA: an orthonormal basis of W's columns.

Büyükakyüz 2024, "OLoRA: Orthonormal Low-Rank Adaptation of Large Language Models", arXiv:2406.01775.
W = Q R;  B = the first R columns of Q, A = the first R rows of R.
"""

import torch
from torch import Generator, Tensor


def olora(W_OI: Tensor, rank: int, scale: float, generator: Generator) -> tuple[Tensor, Tensor]:
    """Returns (A [R, I], B [O, R]) of one layer."""
    Q_OK, R_KI = torch.linalg.qr(W_OI)
    return R_KI[:rank].clone(), Q_OK[:, :rank].clone()
