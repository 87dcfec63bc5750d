"""AdamW (Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization", arXiv:1711.05101), as torch has it."""

from collections.abc import Iterable

import torch
from torch import nn

from yosegi.optimizers._align import align


def adamw(
    parameters: Iterable[nn.Parameter],
    lr: float,
    weight_decay: float = 0.0,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
) -> torch.optim.Optimizer:
    """Returns an optimizer with all parameters in one group; it is fused, which on CPU and GPU is one pass over the memory."""
    optimizer = torch.optim.AdamW(parameters, lr=lr, weight_decay=weight_decay, betas=betas, eps=eps, fused=True)
    optimizer.register_step_pre_hook(align)
    return optimizer
