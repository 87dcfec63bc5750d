"""Task table: each task learns weights for a pool of shared experts. The router of Poly and MHR.

Ponti et al. 2023, "Combining Parameter-efficient Modules for Task-level Generalisation", arXiv:2202.13914 (Poly, `heads=1`),
and Caccia et al. 2023, "Multi-Head Adapter Routing for Cross-Task Generalization", arXiv:2211.03831 (MHR, `heads=H`: each slice
of a layer's input and output has its own row of the table). Both mix factors.

    training    w ∝ a draw from RelaxedBernoulli(logits)        otherwise  w ∝ sigmoid(logits);  each row sums to 1
"""

import torch
from torch import Tensor, nn
from torch.distributions import RelaxedBernoulli

from yosegi.core.bank import Bank
from yosegi.core.context import Context
from yosegi.core.router import Router
from yosegi.errors import Invalid

START = 1e-3
"""The logits start uniform in ± this: every expert is half chosen, and no two logits are equal."""
EPS = 1e-12


class TaskTable(Router):
    """A task that is not in the table (-1) gets the mean of its rows.

    Args:
        heads: rows per task and layer; as many as the layer has heads (`attach(heads=…)`).
        temperature: the temperature of the relaxed draw.
    """

    needs = "tasks"
    learns = "jointly"

    def __init__(self, heads: int = 1, temperature: float = 1.0):
        super().__init__()
        if heads < 1 or not temperature > 0:
            raise Invalid(f"task_table needs heads >= 1 and temperature > 0, not {heads} and {temperature}.")
        self.heads, self.temperature = heads, temperature

    def bind(self, bank: Bank) -> None:
        """Makes a logit for each task, head and expert."""
        shape = len(bank.tasks), self.heads, len(bank.names)
        if getattr(self, "logit_KHE", torch.empty(0)).shape != shape:
            self.logit_KHE = nn.Parameter(torch.empty(shape, device=bank.A_ERI.device).uniform_(-START, START))
        self.register_buffer("present_E", bank.present_E, persistent=False)

    def forward(self, x_I: Tensor, context: Context) -> Tensor:
        """Returns [B, 1, H, E]: the same for all tokens of a sequence."""
        task_B = self.given(context)
        logit_KHE = torch.cat([self.logit_KHE, self.logit_KHE.mean(0, keepdim=True)]).float()
        logit_BHE = logit_KHE.index_select(0, task_B % len(logit_KHE))  # -1 is the last row, the mean
        if self.training:
            temperature = torch.tensor(self.temperature, device=logit_BHE.device)
            chosen_BHE = RelaxedBernoulli(temperature, logits=logit_BHE).rsample()
        else:
            chosen_BHE = logit_BHE.sigmoid()
        chosen_BHE = chosen_BHE * torch.as_tensor(self.present_E)
        return (chosen_BHE / (chosen_BHE.sum(-1, keepdim=True) + EPS))[:, None]
