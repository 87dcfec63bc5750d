"""AdamW (Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization", arXiv:1711.05101), as torch has it."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn


def adamw(
    parameters: Iterable[nn.Parameter],
    lr: float,
    weight_decay: float = 0.0,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
) -> torch.optim.Optimizer:
    """All parameters in one group; fused, which on CPU and GPU is one pass over the memory."""
    optimizer = torch.optim.AdamW(parameters, lr=lr, weight_decay=weight_decay, betas=betas, eps=eps, fused=True)
    optimizer.register_step_pre_hook(_align)
    return optimizer


@torch.no_grad()
def _align(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    """Lay gradients and moments out in memory as their parameter is.

    The fused kernel walks memory and, on a CPU, does not look at strides. B is a transposed view (core/bank.py), so
    moments that come back contiguous from a checkpoint would silently be given to the wrong entries.
    """

    def like(parameter: Tensor, value: Any) -> Any:
        same = not isinstance(value, Tensor) or value.shape != parameter.shape or value.stride() == parameter.stride()
        return value if same else torch.empty_like(parameter, dtype=value.dtype).copy_(value)

    for parameter in (p for group in optimizer.param_groups for p in group["params"]):
        parameter.grad = like(parameter, parameter.grad)
        if memory := optimizer.state.get(parameter):
            memory.update({key: like(parameter, value) for key, value in memory.items()})
