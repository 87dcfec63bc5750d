"""Softmax: a trained linear map of each token's input gives the weights. The router of LoRAMoE and of mixtures of experts.

Dou et al. 2024, "LoRAMoE: Alleviate World Knowledge Forgetting in Large Language Models via MoE-Style Plugin",
arXiv:2312.09979; Jacobs et al. 1991, "Adaptive Mixtures of Local Experts".

    w = softmax( (R x) / temperature ),  over the top_k largest where one is given

R is trained together with its experts, or over finished ones. It starts at zero, where all weights are equal (with `top_k`,
ties are all kept); the authors' code starts at random. Their figure has one router for each feed-forward block, their code
one for each projection of it (`scope`).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from yosegi.core.bank import Bank
from yosegi.core.context import Context
from yosegi.core.model import reads_encoder
from yosegi.core.router import Router
from yosegi.errors import Invalid, UnknownName

SCOPES = ("projection", "ffn")
STARTS = ("zero", "random")


class Softmax(Router):
    """Args:
    top_k: experts per token, at most all of them; None for all.
    temperature: above 1 the weights are more even, below 1 more peaked.
    scope: projection: each linear routes by its own input; ffn: the first linear of a block routes for all of them, by the
        input of the block.
    start: zero; or random, uniform in ±1/√I from torch's generator, as in the authors' code.
    """

    learns = "answers"

    def __init__(
        self, top_k: int | None = None, temperature: float = 1.0, scope: str = "projection", start: str = "zero"
    ):
        super().__init__()
        if (top_k is not None and top_k < 1) or not temperature > 0:
            raise Invalid(f"softmax needs top_k >= 1 and temperature > 0, not {top_k} and {temperature}.")
        UnknownName.check("scope of softmax", [scope], SCOPES)
        UnknownName.check("start of softmax", [start], STARTS)
        self.top_k, self.temperature, self.scope, self.start = top_k, temperature, scope, start
        self.layer = self.block = ""

    def place(self, layer: str, layers: Sequence[str]) -> None:
        """Finds out whether this layer routes, or the first linear of its block does."""
        self.layer, self.block = layer, _block(layer)
        first = next((other for other in layers if _block(other) == self.block), layer)
        self.follows = self.scope == "ffn" and first != layer

    def bind(self, bank: Bank) -> None:
        """Makes a row of R for each expert."""
        shape = len(bank.names), bank.A_ERI.shape[-1]
        if not self.follows and getattr(self, "row_EI", torch.empty(0)).shape != shape:
            width = shape[1] ** -0.5 if self.start == "random" else 0.0
            self.row_EI = nn.Parameter(torch.empty(shape).uniform_(-width, width).to(bank.A_ERI.device))
        self.register_buffer("absent_E", ~bank.present_E, persistent=False)

    def forward(self, x_I: Tensor, context: Context) -> Tensor:
        """Returns [..., 1, E]: weights for each token."""
        if self.follows:
            w_HE = context.blocks.get(self.block)  # of the first linear of the block, for the same tokens
            if w_HE is None or w_HE.shape[:-2] != x_I.shape[:-1]:
                raise Invalid(
                    f"scope=ffn: {self.layer} cannot follow the first linear of {self.block}, which reads other tokens or "
                    "runs later. Leave it out of the targets, or take scope=projection."
                )
            return w_HE
        score_E = (x_I.float() @ self.row_EI.float().mT) / self.temperature
        score_E = score_E.masked_fill(torch.as_tensor(self.absent_E), -torch.inf)
        if self.top_k is not None and self.top_k < score_E.shape[-1]:
            least = score_E.topk(self.top_k, dim=-1).values[..., -1:]
            score_E = score_E.masked_fill(score_E < least, -torch.inf)
        w_HE = score_E.softmax(-1).unsqueeze(-2)
        if self.scope == "ffn":  # computed again when activation checkpointing runs the forward a second time
            context.blocks[self.block] = w_HE
        return w_HE


def _block(layer: str) -> str:
    """Returns the block of a linear. Keys and values of cross-attention, made of the encoder's tokens, have their own."""
    return layer.rpartition(".")[0] + (".encoder" if reads_encoder(layer) else "")
