"""Oracle: each sequence gets the experts that were trained on its own task, which is an upper reference for routers.

Ostapenko et al. 2024, "Towards Modular LLMs by Building and Reusing a Library of LoRAs", arXiv:2405.11157. It knows the task, so
it is a yardstick and not a method.
"""

import torch
from torch import Tensor

from yosegi.core.bank import Bank
from yosegi.core.context import Context
from yosegi.core.router import Router


class Oracle(Router):
    """w is shared evenly by the experts that were trained on `context.task_B`; a task of no expert (-1) gets the base alone."""

    needs = "tasks"
    trained_tasks_only = True

    def bind(self, bank: Bank) -> None:
        """Builds a row of weights for each task, and a last row of zeros for -1."""
        tasks = bank.tasks
        table_KE = torch.tensor([[float(task in trained) for trained in bank.tasks_E] for task in tasks])
        table_KE = torch.cat([table_KE.reshape(len(tasks), len(bank.names)), torch.zeros(1, len(bank.names))])
        table_KE = table_KE.to(bank.A_ERI.device)
        self.register_buffer("table_KE", table_KE / table_KE.sum(-1, keepdim=True).clamp(min=1), persistent=False)

    def active(self, experts: int) -> int:
        """Returns 1: the expert that was trained on the task."""
        return 1

    def forward(self, x_I: Tensor, context: Context) -> Tensor:
        """Returns [B, 1, 1, E]: the same for all tokens of a sequence."""
        return torch.as_tensor(self.table_KE)[self.given(context)][:, None, None]
