"""Fused kernels walk memory and, on a CPU, do not look at strides: what they are given has to lie as the parameter does."""

from typing import Any

import torch
from torch import Tensor


@torch.no_grad()
def align(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    """Lay gradients and moments out in memory as their parameter is; a step pre-hook.

    B is a transposed view (core/bank.py), so moments that come back contiguous from a checkpoint would silently be given to
    the wrong entries.
    """

    def like(parameter: Tensor, value: Any) -> Any:
        same = not isinstance(value, Tensor) or value.shape != parameter.shape or value.stride() == parameter.stride()
        return value if same else torch.empty_like(parameter, dtype=value.dtype).copy_(value)

    for parameter in (p for group in optimizer.param_groups for p in group["params"]):
        parameter.grad = like(parameter, parameter.grad)
        if memory := optimizer.state.get(parameter):
            memory.update({key: like(parameter, value) for key, value in memory.items()})
