"""SpectR: each token goes to the experts whose input directions contain most of it. It needs no training and no data.

Fleshman and Van Durme 2025, "SpectR: Dynamically Composing LM Experts with Spectral Routing", arXiv:2504.03454.

An expert's delta is U S Vᵀ, and its score is ‖Vᵀx‖: how much of x lies in the directions that the expert reads. The authors'
code leaves S out, so a direction that the delta hardly uses counts like any other; with `weighted` the score is ‖S Vᵀx‖ = ‖ΔW
x‖, how far the expert would move this token. The authors' code mixes factors, which adds rows that have nothing in common but
their index.
"""

import torch
from torch import Tensor

from yosegi.core.bank import Bank
from yosegi.core.context import Context
from yosegi.core.router import Router
from yosegi.errors import Invalid
from yosegi.routers._spectra import readers


class Spectr(Router):
    """The `top_k` experts with the largest scores share w evenly.

    Args:
        top_k: experts per token, at most all of them.
        weighted: scores by ‖ΔW x‖ instead of ‖Vᵀx‖ / √rank (the root makes experts of different rank comparable).
    """

    def __init__(self, top_k: int = 4, weighted: bool = False):
        super().__init__()
        if top_k < 1:
            raise Invalid(f"spectr needs top_k >= 1, not {top_k}.")
        self.top_k, self.weighted = top_k, weighted

    @torch.no_grad()
    def bind(self, bank: Bank) -> None:
        """Computes the rows [E, R, I] whose product with x is the score."""
        self.register_buffer("rows_ERI", readers(bank, self.weighted), persistent=False)
        self.register_buffer("absent_E", ~bank.present_E, persistent=False)

    def forward(self, x_I: Tensor, context: Context) -> Tensor:
        """Returns [..., 1, E]: weights for each token."""
        rows_ERI, absent_E = torch.as_tensor(self.rows_ERI).float(), torch.as_tensor(self.absent_E)
        read_ER = (x_I.detach().float() @ rows_ERI.flatten(0, 1).mT).unflatten(-1, rows_ERI.shape[:2])
        score_E = read_ER.square().sum(-1).masked_fill(absent_E, -1)
        top = score_E.topk(min(self.top_k, score_E.shape[-1]), dim=-1)
        w_E = torch.zeros_like(score_E).scatter(-1, top.indices, (top.values >= 0).to(score_E))
        return (w_E / w_E.sum(-1, keepdim=True).clamp(min=1)).unsqueeze(-2)
