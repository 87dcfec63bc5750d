"""Centroid: send each token to the experts whose own inputs look like it.

CM in Ostapenko et al. 2024, "Towards Modular LLMs by Building and Reusing a Library of LoRAs", arXiv:2405.11157; before them
Belofsky 2023, "Token-Level Adaptation of LoRA Adapters for Downstream Task Generalization", arXiv:2311.10847.

    p_e = the mean, over a few examples of the expert's tasks read with that expert, of the layer's input at the last token
    w   = softmax( cos(x, p_e) / temperature )
"""

from math import sqrt

import torch
from torch import Tensor
from torch.nn.functional import normalize

from yosegi.core.bank import Bank
from yosegi.core.context import Context
from yosegi.core.router import Router
from yosegi.errors import Invalid, UnknownName
from yosegi.routers._learnt import Learnt


class Centroid(Router):
    """Args:
    top_k: experts kept per token; None for all.
    temperature: None is √I, as in their code, where all are heard almost evenly; 0.1 chooses.
    over: what of an example is averaged: its "last" token, or all of them, "mean".
    """

    learns = "inputs"

    def __init__(self, top_k: int | None = None, temperature: float | None = None, over: str = "last"):
        super().__init__()
        if (top_k is not None and top_k < 1) or (temperature is not None and not temperature > 0):
            raise Invalid(f"centroid needs top_k >= 1 and temperature > 0, not {top_k} and {temperature}.")
        if over not in ("last", "mean"):
            raise UnknownName.among("part of an example", over, ("last", "mean"))
        self.top_k, self.temperature, self.over = top_k, temperature, over
        self.learnt = Learnt("centroid", "prototype_EI")

    def bind(self, bank: Bank) -> None:
        """Make room for the prototypes."""
        E, I = len(bank.names), bank.A_ERI.shape[-1]
        self.learnt.belong(bank.names, bank.A_ERI.device, prototype_EI=(E, I))
        self.register_buffer("silent_E", ~bank.present_E, persistent=False)

    def read(self, x_BTI: Tensor, mask_BT: Tensor) -> Tensor:
        """[B, I]: what is remembered of each sequence, wherever its padding is."""
        x_BTI, real_BT = x_BTI.float(), mask_BT.to(x_BTI.device).bool()
        if self.over == "mean":
            return (x_BTI * real_BT[..., None]).sum(1) / real_BT.sum(1, keepdim=True).clamp(min=1)
        last_B = real_BT.shape[1] - 1 - real_BT.flip(1).int().argmax(1)
        return x_BTI[torch.arange(len(x_BTI), device=x_BTI.device), last_B]

    def fit(self, mean_EI: Tensor) -> None:
        """Keep the experts' mean inputs."""
        self.learnt.set(prototype_EI=normalize(mean_EI.float(), dim=-1))

    def forward(self, x_I: Tensor, context: Context) -> Tensor:
        """[..., 1, E]: token by token."""
        prototype_EI, silent_E = self.learnt.get("prototype_EI").float(), torch.as_tensor(self.silent_E)
        score_E = normalize(x_I.float(), dim=-1) @ prototype_EI.mT / (self.temperature or sqrt(x_I.shape[-1]))
        score_E = score_E.masked_fill(silent_E, -torch.inf)
        top = score_E.topk(min(self.top_k or score_E.shape[-1], score_E.shape[-1]), dim=-1)
        return torch.zeros_like(score_E).scatter(-1, top.indices, top.values.softmax(-1)).unsqueeze(-2)
