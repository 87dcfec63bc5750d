"""Uniform: all experts have the same weight, the baseline for every router. With one expert it is simply that expert.

Called μ in Ostapenko et al. 2024, "Towards Modular LLMs by Building and Reusing a Library of LoRAs", arXiv:2405.11157.
mttl averages A and B (`mix=factors`); `mix=outputs` averages the outputs of the experts.
"""

import torch
from torch import Tensor

from yosegi.core.bank import Bank
from yosegi.core.context import Context
from yosegi.core.router import Router


class Uniform(Router):
    """w is 1 over the number of experts that have this layer."""

    def bind(self, bank: Bank) -> None:
        """Counts the experts."""
        present_E = bank.present_E.float()
        self.register_buffer("w_HE", (present_E / present_E.sum().clamp(min=1))[None], persistent=False)

    def forward(self, x_I: Tensor, context: Context) -> Tensor:
        """Returns [1, E]: the same for all tokens."""
        return torch.as_tensor(self.w_HE)
