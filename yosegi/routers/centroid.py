"""Centroid: each token goes to the experts whose own training inputs it resembles.

CM in Ostapenko et al. 2024, "Towards Modular LLMs by Building and Reusing a Library of LoRAs", arXiv:2405.11157; before them
Belofsky 2023, "Token-Level Adaptation of LoRA Adapters for Downstream Task Generalization", arXiv:2311.10847.

    p_e = the unit vector of the mean layer input, at the last token of a few examples of the expert's tasks, read with it
    w   = softmax( ⟨x, p_e⟩ / temperature )          input_norm=unit: cos(x, p_e) instead of the product
"""

from math import sqrt

import torch
from torch import Tensor
from torch.nn.functional import normalize

from yosegi.core.bank import Bank
from yosegi.core.context import Context
from yosegi.core.router import Router
from yosegi.errors import Invalid, UnknownName
from yosegi.routers._choose import softmax_of_top
from yosegi.routers._learnt import Learnt


class Centroid(Router):
    """Args:
    top_k: experts per token, at most all of them; None for all.
    temperature: None is √I, as in mttl.
    over: which tokens of an example count: the "last", or the "mean" of all.
    input_norm: "id" leaves x as it is, as mttl does; "unit" normalises it, and then the weights at √I are almost uniform.
    """

    learns = "inputs"

    def __init__(
        self, top_k: int | None = None, temperature: float | None = None, over: str = "last", input_norm: str = "id"
    ):
        super().__init__()
        if (top_k is not None and top_k < 1) or (temperature is not None and not temperature > 0):
            raise Invalid(f"centroid needs top_k >= 1 and temperature > 0, not {top_k} and {temperature}.")
        UnknownName.check("part of an example", [over], ("last", "mean"))
        UnknownName.check("input_norm of centroid", [input_norm], ("id", "unit"))
        self.top_k, self.temperature, self.over, self.input_norm = top_k, temperature, over, input_norm
        self.learnt = Learnt("centroid", "prototype_EI")

    def bind(self, bank: Bank) -> None:
        """Declares the prototypes."""
        E, I = len(bank.names), bank.A_ERI.shape[-1]
        self.learnt.belong(bank.names, bank.A_ERI.device, prototype_EI=(E, I))
        self.register_buffer("absent_E", ~bank.present_E, persistent=False)

    def read(self, x_BTI: Tensor, mask_BT: Tensor) -> Tensor:
        """Returns [B, I]: the part of each sequence that enters the prototypes, wherever its padding is."""
        x_BTI, real_BT = x_BTI.float(), mask_BT.to(x_BTI.device).bool()
        if self.over == "mean":
            return (x_BTI * real_BT[..., None]).sum(1) / real_BT.sum(1, keepdim=True).clamp(min=1)
        last_B = real_BT.shape[1] - 1 - real_BT.flip(1).int().argmax(1)
        return x_BTI[torch.arange(len(x_BTI), device=x_BTI.device), last_B]

    def fit(self, mean_EI: Tensor) -> None:
        """Stores the experts' mean inputs."""
        self.learnt.set(prototype_EI=normalize(mean_EI.float(), dim=-1))

    def forward(self, x_I: Tensor, context: Context) -> Tensor:
        """Returns [..., 1, E]: weights for each token."""
        x_I = x_I.float() if self.input_norm == "id" else normalize(x_I.float(), dim=-1)
        score_E = x_I @ self.learnt.get("prototype_EI").float().mT / (self.temperature or sqrt(x_I.shape[-1]))
        return softmax_of_top(score_E, self.top_k, torch.as_tensor(self.absent_E)).unsqueeze(-2)
