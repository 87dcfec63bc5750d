"""Arrow: send each token to the experts that would move it most. No training, no data.

Ostapenko et al. 2024, "Towards Modular LLMs by Building and Reusing a Library of LoRAs", arXiv:2405.11157.

An expert's prototype is the input direction its delta B A stretches most: the top right singular vector.
The sign of a singular vector means nothing, hence the absolute value. Their code mixes factors, PEFT's mixes outputs.
"""

import torch
from torch import Tensor

from yosegi.core.bank import Bank
from yosegi.core.context import Context
from yosegi.core.router import Router
from yosegi.errors import Invalid
from yosegi.routers._spectra import spectra


class Arrow(Router):
    """Args:
    top_k: experts kept per token; the rest are silent. More than there are means all.
    temperature: above 1 spreads the weights, below 1 sharpens them.
    """

    def __init__(self, top_k: int = 3, temperature: float = 1.0):
        super().__init__()
        if top_k < 1 or not temperature > 0:
            raise Invalid(f"arrow needs top_k >= 1 and temperature > 0, not {top_k} and {temperature}.")
        self.top_k, self.temperature = top_k, temperature

    @torch.no_grad()
    def bind(self, bank: Bank) -> None:
        """Find the prototypes [E, I], exactly."""
        _, V_ERI = spectra(*bank.stacked(), top=1)
        self.register_buffer("prototype_EI", V_ERI[:, 0].contiguous(), persistent=False)
        self.register_buffer("silent_E", ~bank.present_E, persistent=False)

    def forward(self, x_I: Tensor, context: Context) -> Tensor:
        """[..., 1, E]: token by token."""
        prototype_EI, silent_E = torch.as_tensor(self.prototype_EI), torch.as_tensor(self.silent_E)
        score_E = ((x_I.float() @ prototype_EI.float().mT).abs() / self.temperature).masked_fill(silent_E, -torch.inf)
        top = score_E.topk(min(self.top_k, score_E.shape[-1]), dim=-1)
        w_E = torch.zeros_like(score_E).scatter(-1, top.indices, top.values.softmax(-1))
        return w_E.unsqueeze(-2)
