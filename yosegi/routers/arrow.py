"""Arrow: each token goes to the experts whose delta would change it most. It needs no training and no data.

Ostapenko et al. 2024, "Towards Modular LLMs by Building and Reusing a Library of LoRAs", arXiv:2405.11157.

    p_e = the top right singular vector of ΔW_e = B_e A_e, the input direction that the delta stretches most
    w   = softmax over the top_k of |⟨x, p_e⟩| / temperature

The absolute value, because the sign of a singular vector means nothing. mttl mixes factors, PEFT's Arrow mixes outputs.
"""

import torch
from torch import Tensor

from yosegi.core.bank import Bank
from yosegi.core.context import Context
from yosegi.core.router import Router
from yosegi.errors import Invalid
from yosegi.routers._choose import softmax_of_top
from yosegi.routers._spectra import spectra


class Arrow(Router):
    """Args:
    top_k: experts per token, at most all of them.
    temperature: above 1 the weights are more even, below 1 more peaked.
    """

    def __init__(self, top_k: int = 3, temperature: float = 1.0):
        super().__init__()
        if top_k < 1 or not temperature > 0:
            raise Invalid(f"arrow needs top_k >= 1 and temperature > 0, not {top_k} and {temperature}.")
        self.top_k, self.temperature = top_k, temperature

    @torch.no_grad()
    def bind(self, bank: Bank) -> None:
        """Computes the prototypes [E, I] exactly."""
        _, V_ERI = spectra(*bank.stacked(), top=1)
        self.register_buffer("prototype_EI", V_ERI[:, 0].contiguous(), persistent=False)
        absent_E = ~bank.present_E
        self.register_buffer("absent_E", absent_E if bool(absent_E.any()) else None, persistent=False)

    def forward(self, x_I: Tensor, context: Context) -> Tensor:
        """Returns [..., 1, E]: weights for each token."""
        prototype_EI = torch.as_tensor(self.prototype_EI).float()
        score_E = (x_I.float() @ prototype_EI.mT).abs() / self.temperature
        return softmax_of_top(score_E, self.top_k, self.absent_E).unsqueeze(-2)  # type: ignore[arg-type]
