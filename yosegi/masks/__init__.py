"""Masks: which entries of the update survive. A mask acts on the update, not on the gradient: under AdamW, weight decay and
stale momentum move entries whose gradient is zero.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


def hold(optimizer: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter], mask: Mapping[str, Tensor]) -> None:
    """From now on every step of the optimizer leaves the entries where `mask` is False as they were, bit for bit."""
    before: dict[str, Tensor] = {}

    @torch.no_grad()
    def remember(*_: Any) -> None:
        before.update({name: parameters[name].detach().clone() for name in mask})

    @torch.no_grad()
    def restore(*_: Any) -> None:
        for name, moves in mask.items():
            parameters[name].copy_(torch.where(moves, parameters[name], before[name]))

    optimizer.register_step_pre_hook(remember)
    optimizer.register_step_post_hook(restore)
