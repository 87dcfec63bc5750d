"""PiSSA: the principal singular directions of W, which are then trained.

Meng et al. 2024, "PiSSA: Principal Singular Values and Singular Vectors Adaptation of Large Language Models",
arXiv:2404.02948.     W = U S Vᵀ;  s B A = U_R S_R V_Rᵀ, shared evenly between the two factors.
"""

import torch
from torch import Generator, Tensor

from yosegi.errors import Invalid


def pissa(
    W_OI: Tensor, rank: int, scale: float, generator: Generator, power_steps: int | None = None
) -> tuple[Tensor, Tensor]:
    """Returns (A [R, I], B [O, R]) of one layer.

    Args:
        W_OI: the base weight.
        rank: the number of directions.
        scale: alpha / rank; divided out of the factors, so that s B A is the principal part itself.
        generator: the random numbers of the randomised SVD.
        power_steps: None for the exact SVD; 4 to 16 for a randomised SVD, many times faster on wide layers.
    """
    if power_steps is None:
        U_OK, S_K, V_KI = torch.linalg.svd(W_OI, full_matrices=False)
        U_OR, S_R, V_RI = U_OK[:, :rank], S_K[:rank], V_KI[:rank]
    else:
        U_OR, S_R, V_RI = _randomised(W_OI, rank, power_steps, generator)
    root_R = (S_R / scale).sqrt()
    return root_R[:, None] * V_RI, U_OR * root_R


def _randomised(W_OI: Tensor, rank: int, power_steps: int, generator: Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the leading singular triplets by subspace iteration (Halko, Martinsson and Tropp 2011, arXiv:0909.4061)."""
    if power_steps < 1:
        raise Invalid(f"power_steps={power_steps}: the randomised SVD needs at least 1; None is the exact SVD.")
    wide = min(rank + 8, *W_OI.shape)  # a few additional directions make the wanted ones accurate
    Q_IK = torch.randn(W_OI.shape[1], wide, generator=generator)
    for _ in range(power_steps):
        Q_IK = torch.linalg.qr(W_OI.mT @ torch.linalg.qr(W_OI @ Q_IK).Q).Q
    U_OK, S_K, V_KK = torch.linalg.svd(W_OI @ Q_IK, full_matrices=False)
    return U_OK[:, :rank], S_K[:rank], V_KK[:rank] @ Q_IK.mT
