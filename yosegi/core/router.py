"""The contract every router keeps."""

import inspect
from typing import Any

from torch import Tensor, nn

from yosegi.core.bank import Bank
from yosegi.core.context import Context


class Router(nn.Module):
    """Says how much each expert is heard.

    `__init__` takes hyper-parameters only and stores each under its own name: a router is its own config.
    `attach` builds what depends on the experts. It runs again whenever the bank changes, so repeating it is safe.
    `forward` returns w [..., H, E], whose leading axes broadcast against those of x:
        [1, E] the same for all      [B, 1, 1, E] by sequence      [B, T, 1, E] by token
    """

    def __init__(self):
        super().__init__()

    def attach(self, bank: Bank) -> None:
        """Look at the experts of one layer."""

    def forward(self, x_I: Tensor, context: Context) -> Tensor:
        """The weights for one batch."""
        raise NotImplementedError

    def config(self) -> dict[str, Any]:
        """The hyper-parameters, by name: enough to make it again."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}
