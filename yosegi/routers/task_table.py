"""A table of tasks and experts: each task has learnt which of the shared experts it wants. The router of Poly and MHR.

Ponti et al. 2023, "Combining Parameter-efficient Modules for Task-level Generalisation", arXiv:2202.13914 (Poly, `heads=1`),
and Caccia et al. 2023, "Multi-Head Adapter Routing for Cross-Task Generalization", arXiv:2211.03831 (MHR, `heads=H`: every
slice of a layer's input and output has a row of the table of its own). Both mix factors.
"""

import torch
from torch import Tensor, nn
from torch.distributions import RelaxedBernoulli

from yosegi.core.bank import Bank
from yosegi.core.context import Context
from yosegi.core.router import Router
from yosegi.errors import Invalid

START = 1e-3
"""The logits begin uniform in ± this: all experts half chosen, and no two alike."""
EPS = 1e-12


class TaskTable(Router):
    """In training the choice is drawn (RelaxedBernoulli, reparametrised), afterwards it is the logits' sigmoid; each row is
    divided by its sum. A task that is not in the table (-1) has the mean of its rows.

    Args:
        heads: rows a task and layer; as many as the layer has (`attach(heads=…)`).
        temperature: of the relaxed draw.
    """

    needs = "tasks"
    learns = "jointly"

    def __init__(self, heads: int = 1, temperature: float = 1.0):
        super().__init__()
        if heads < 1 or not temperature > 0:
            raise Invalid(f"task_table needs heads >= 1 and temperature > 0, not {heads} and {temperature}.")
        self.heads, self.temperature = heads, temperature

    def bind(self, bank: Bank) -> None:
        """A logit for each task, head and expert."""
        shape = len(bank.tasks), self.heads, len(bank.names)
        if getattr(self, "logit_KHE", torch.empty(0)).shape != shape:
            self.logit_KHE = nn.Parameter(torch.empty(shape, device=bank.A_ERI.device).uniform_(-START, START))
        self.register_buffer("present_E", bank.present_E, persistent=False)

    def forward(self, x_I: Tensor, context: Context) -> Tensor:
        """[B, 1, H, E]: the same for every token of a sequence."""
        if context.task_B is None:
            raise Invalid("The router task_table needs to hear the task of each sequence.")
        logit_KHE = torch.cat([self.logit_KHE, self.logit_KHE.mean(0, keepdim=True)]).float()
        logit_BHE = logit_KHE.index_select(0, context.task_B % len(logit_KHE))  # -1 is the last row, the mean
        if self.training:
            temperature = torch.tensor(self.temperature, device=logit_BHE.device)
            chosen_BHE = RelaxedBernoulli(temperature, logits=logit_BHE).rsample()
        else:
            chosen_BHE = logit_BHE.sigmoid()
        chosen_BHE = chosen_BHE * torch.as_tensor(self.present_E)
        return (chosen_BHE / (chosen_BHE.sum(-1, keepdim=True) + EPS))[:, None]
