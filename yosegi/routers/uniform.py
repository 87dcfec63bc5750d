"""Every expert, equally loud: the baseline each router has to beat. With one expert it is simply that expert.

Called μ in Ostapenko et al. 2024, "Towards Modular LLMs by Building and Reusing a Library of LoRAs", arXiv:2405.11157.
Their code averages A and B (`mix=factors`); averaging what the experts say is `mix=outputs`.
"""

import torch
from torch import Tensor

from yosegi.core.bank import Bank
from yosegi.core.context import Context
from yosegi.core.router import Router


class Uniform(Router):
    """w = 1 / (the experts that have this layer)."""

    def bind(self, bank: Bank) -> None:
        """Count the experts."""
        present_E = bank.present_E.float()
        self.register_buffer("w_HE", (present_E / present_E.sum().clamp(min=1))[None], persistent=False)

    def forward(self, x_I: Tensor, context: Context) -> Tensor:
        """[1, E]: the same for every token."""
        return torch.as_tensor(self.w_HE)
