"""Masks: which entries are updated. A mask acts on the update, not on the gradient: under AdamW, weight decay and stale
momentum change entries whose gradient is zero.

A method is a function mask(entries by name, **its arguments) -> {name: True where an entry is updated}, or None for all.
There are two ways to apply a mask: `hold` restores frozen entries after each step; `Seen` shows the optimizer only the
entries that train.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


def hold(optimizer: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter], mask: Mapping[str, Tensor]) -> None:
    """Makes every step of the optimizer leave the entries where `mask` is False bit-identical."""
    before: dict[str, Tensor] = {}

    @torch.no_grad()
    def store(*_: Any) -> None:
        before.update({name: parameters[name].detach().clone() for name in mask})

    @torch.no_grad()
    def restore(*_: Any) -> None:
        for name, trains in mask.items():
            parameters[name].copy_(torch.where(trains, parameters[name], before[name]))

    optimizer.register_step_pre_hook(store)
    optimizer.register_step_post_hook(restore)


class Seen:
    """What the optimizer sees of a parameter: all of it, some rows of its first axis, or only the entries that move, packed.

    Packed, its state is as small as what moves, and the others are not even read. An optimizer that treats entries one by one
    (AdamW) takes the same steps as without.

    Args:
        parameter: the whole.
        part: [first:last] of its first axis; None for all.
        moves: True where an entry of the whole may move; None for all.
        plain: shown as it lies in memory, for an optimizer that would replace a transposed view by a copy.
    """

    def __init__(
        self,
        parameter: nn.Parameter,
        part: tuple[int, int] | None = None,
        moves: Tensor | None = None,
        plain: bool = False,
    ):
        self.whole, self.part, self.turned = parameter, part, plain and not parameter.is_contiguous()
        values = self._own(parameter.data)  # the same memory
        self.place_J: Tensor | None = None
        if moves is not None:
            self.flat = _in_memory(values, values)
            self.place_J = _in_memory(self._own(moves).to(values.device), values).nonzero().squeeze(1)
            self.leaf = nn.Parameter(self.flat.index_select(0, self.place_J))
        else:
            self.leaf = parameter if part is None and not self.turned else nn.Parameter(values)

    def take_grad(self) -> None:
        """The gradient of the whole becomes that of the leaf."""
        grad = self.whole.grad
        if grad is not None and self.leaf is not self.whole:
            grad = self._own(grad)
            if self.place_J is not None:
                grad = _in_memory(grad, self._own(self.whole.data)).index_select(0, self.place_J)
            self.leaf.grad = grad

    def write(self) -> None:
        """What the optimizer moved goes back to where it belongs."""
        if self.place_J is not None:
            self.flat.scatter_(0, self.place_J, self.leaf.data)

    def read(self) -> None:
        """The whole has been loaded from a checkpoint."""
        if self.place_J is not None:
            self.leaf.data.copy_(self.flat.index_select(0, self.place_J))

    def _own(self, tensor: Tensor) -> Tensor:
        tensor = tensor if self.part is None else tensor[slice(*self.part)]
        return tensor.mT if self.turned else tensor


def _in_memory(tensor: Tensor, like: Tensor) -> Tensor:
    """A tensor in one row, in the order in which `like` lies in memory: B is a transposed view (core/bank.py)."""
    turned = not like.is_contiguous()
    return (tensor.mT if turned else tensor).reshape(-1)
