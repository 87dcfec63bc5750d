"""SpectR: send each token to the experts that read most of it, all their directions counted. No training, no data.

Fleshman and Van Durme 2025, "SpectR: Dynamically Composing LM Experts with Spectral Routing", arXiv:2504.03454.

An expert's delta is U S Vᵀ, and the score is the length of Vᵀx: how much of x lies in what the expert reads. Their code leaves S
out, so a direction that the delta hardly uses counts like any other; `weighted` puts it in, and the score is ‖ΔW x‖, how far
the expert would move this token. Their code mixes factors: rows that are added there share an index and nothing else.
"""

import torch
from torch import Tensor

from yosegi.core.bank import Bank
from yosegi.core.context import Context
from yosegi.core.router import Router
from yosegi.errors import Invalid
from yosegi.routers._spectra import spectra

NOTHING = 1e-5
"""A singular value so much smaller than the largest is rounding: its direction is none of the expert's."""


class Spectr(Router):
    """The `top_k` best share w evenly.

    Args:
        top_k: experts kept per token. More than there are means all.
        weighted: ‖ΔW x‖ instead of ‖Vᵀx‖ / √rank, whose root makes experts of different rank comparable.
    """

    def __init__(self, top_k: int = 4, weighted: bool = False):
        super().__init__()
        if top_k < 1:
            raise Invalid(f"spectr needs top_k >= 1, not {top_k}.")
        self.top_k, self.weighted = top_k, weighted

    @torch.no_grad()
    def bind(self, bank: Bank) -> None:
        """Find the rows [E, R, I] whose product with x is measured."""
        S_ER, V_ERI = spectra(*bank.stacked())
        used_ER = S_ER.gt(NOTHING * S_ER[:, :1]).to(S_ER)
        if self.weighted:
            each_ER = used_ER * S_ER * bank.scale_E.abs()[:, None].to(S_ER)
        else:
            each_ER = used_ER / used_ER.sum(-1, keepdim=True).clamp(min=1).sqrt()
        self.register_buffer("rows_ERI", each_ER[..., None] * V_ERI, persistent=False)
        self.register_buffer("silent_E", ~bank.present_E, persistent=False)

    def forward(self, x_I: Tensor, context: Context) -> Tensor:
        """[..., 1, E]: token by token."""
        rows_ERI, silent_E = torch.as_tensor(self.rows_ERI).float(), torch.as_tensor(self.silent_E)
        read_ER = (x_I.detach().float() @ rows_ERI.flatten(0, 1).mT).unflatten(-1, rows_ERI.shape[:2])
        score_E = read_ER.square().sum(-1).masked_fill(silent_E, -1)
        top = score_E.topk(min(self.top_k, score_E.shape[-1]), dim=-1)
        w_E = torch.zeros_like(score_E).scatter(-1, top.indices, (top.values >= 0).to(score_E))
        return (w_E / w_E.sum(-1, keepdim=True).clamp(min=1)).unsqueeze(-2)
