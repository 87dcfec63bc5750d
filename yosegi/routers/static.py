"""Static: one trained weight for each expert in each layer, the same for every input. The router of CAT.

Prabhakar et al. 2024, "LoRA Soups: Merging LoRAs for Practical Skill Composition Tasks", arXiv:2410.13025.

    w_e = α_e(a),   y = W x + Σ_e α_e s_e B_e A_e x        only a is trained; the result folds into one expert (engine/fold.py)

The authors' code draws a from N(0, 1) and takes the softmax over the experts, so that two skills never both have weight 1,
and trains it with steps so small that it stays where it started. Here the weights start even, and other constraints can be
chosen.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from yosegi.core.bank import Bank
from yosegi.core.context import Context
from yosegi.core.router import Router
from yosegi.errors import Invalid, UnknownName

CONSTRAINTS = ("softmax", "free", "sigmoid", "nonneg")
STARTS = ("even", "one", "random")


class Static(Router):
    """An expert that a layer lacks is not counted there.

    Args:
        constraint: the range of α. softmax: shares that sum to 1; free: any number; sigmoid: from 0 to 1; nonneg: 0 or more.
        start: even: 1/k each for the k experts of a layer; one: 1 each (free and nonneg); random: as in the authors' code
            (softmax), from torch's generator.
    """

    learns = "answers"

    def __init__(self, constraint: str = "softmax", start: str = "even"):
        super().__init__()
        UnknownName.check("constraint of static", [constraint], CONSTRAINTS)
        UnknownName.check("start of static", [start], STARTS)
        if (start == "one" and constraint in ("softmax", "sigmoid")) or (start == "random" and constraint != "softmax"):
            raise Invalid(f"static cannot start at {start} under the constraint {constraint}.")
        self.constraint, self.start = constraint, start

    def bind(self, bank: Bank) -> None:
        """Makes a parameter for each expert."""
        self.register_buffer("present_E", bank.present_E, persistent=False)
        if getattr(self, "a_E", torch.empty(0)).shape == bank.present_E.shape:
            return
        if self.start == "random":
            a_E = torch.randn(bank.present_E.shape)
        else:
            a_E = torch.full(
                bank.present_E.shape, self._inverse(1.0 if self.start == "one" else 1 / int(bank.present_E.sum()))
            )
        self.a_E = nn.Parameter(a_E.to(bank.A_ERI.device))

    def forward(self, x_I: Tensor, context: Context) -> Tensor:
        """Returns [1, E]: α, the same for all tokens."""
        a_E, present_E = self.a_E.float(), torch.as_tensor(self.present_E)
        if self.constraint == "softmax":
            return a_E.masked_fill(~present_E, -torch.inf).softmax(-1)[None]
        if self.constraint == "sigmoid":
            a_E = a_E.sigmoid()
        elif self.constraint == "nonneg":
            a_E = softplus(a_E)
        return (a_E * present_E)[None]

    def _inverse(self, alpha: float) -> float:
        """Returns the a at which α has this value."""
        if self.constraint == "sigmoid":
            alpha = min(alpha, 0.95)  # the sigmoid never reaches the 1 of a single expert
            return math.log(alpha / (1 - alpha))
        if self.constraint == "nonneg":
            return math.log(math.expm1(alpha))
        return 0.0 if self.constraint == "softmax" else alpha
