"""By request: each sequence names its expert, as S-LoRA, LoRAX and vLLM serve adapters.

Sheng et al. 2023, "S-LoRA: Serving Thousands of Concurrent LoRA Adapters", arXiv:2311.03285.
"""

import torch
from torch import Tensor

from yosegi.core.bank import Bank
from yosegi.core.context import Context
from yosegi.core.router import Router


class ByRequest(Router):
    """w is one-hot at `context.expert_B`; -1 is the base alone."""

    needs = "experts"
    one_each = True

    def bind(self, bank: Bank) -> None:
        """Builds a one-hot row for each expert, and a last row of zeros for -1."""
        rows_EE = torch.eye(len(bank.names) + 1, len(bank.names), device=bank.A_ERI.device)
        self.register_buffer("rows_EE", rows_EE, persistent=False)

    def active(self, experts: int) -> int:
        """Returns 1: the expert that the request names."""
        return 1

    def forward(self, x_I: Tensor, context: Context) -> Tensor:
        """Returns [B, 1, 1, E]: the same for all tokens of a sequence."""
        return torch.as_tensor(self.rows_EE)[self.given(context)][:, None, None]
