"""LAG: Arrow chooses a few of many experts for each token, and SpectR's score the best of these. No training and no data.

Fleshman and Van Durme 2025, "LoRA-Augmented Generation (LAG) for knowledge-intensive language tasks", arXiv:2507.05346.

    candidates  the experts with the largest |⟨x, p_e⟩|, p_e the top right singular vector of ΔW_e      one row an expert
    w           even over the top_k candidates with the largest ‖V_eᵀ x‖, V_e all of its input directions   R rows a candidate

With all experts as candidates it is SpectR. With many experts Arrow's look at each is a single row, and the full score is
computed only for those that are a candidate of some token of the batch.
"""

import torch
from torch import Tensor

from yosegi.core.bank import Bank
from yosegi.core.context import Context
from yosegi.core.router import Router
from yosegi.errors import Invalid
from yosegi.routers._spectra import readers, spectra


class Lag(Router):
    """Args:
    candidates: experts of a token that Arrow hands on, at most all of them.
    top_k: experts of a token that are active.
    weighted: scores candidates by ‖ΔW x‖ instead of ‖Vᵀx‖ / √rank.
    """

    def __init__(self, candidates: int = 20, top_k: int = 1, weighted: bool = False):
        super().__init__()
        if not 1 <= top_k <= candidates:
            raise Invalid(f"lag needs 1 <= top_k <= candidates, not {top_k} and {candidates}.")
        self.candidates, self.top_k, self.weighted = candidates, top_k, weighted

    @torch.no_grad()
    def bind(self, bank: Bank) -> None:
        """Computes Arrow's prototypes [E, I] and the rows [E, R, I] of the full score."""
        _, V_ERI = spectra(*bank.stacked(), top=1)
        self.register_buffer("prototype_EI", V_ERI[:, 0].contiguous(), persistent=False)
        self.register_buffer("rows_ERI", readers(bank, self.weighted), persistent=False)
        self.register_buffer("absent_E", ~bank.present_E, persistent=False)

    def forward(self, x_I: Tensor, context: Context) -> Tensor:
        """Returns [..., 1, E]: weights for each token."""
        x_I, absent_E = x_I.detach().float(), torch.as_tensor(self.absent_E)
        prototype_EI, rows_ERI = torch.as_tensor(self.prototype_EI).float(), torch.as_tensor(self.rows_ERI).float()
        first_E = (x_I @ prototype_EI.mT).abs().masked_fill(absent_E, -1)
        top = first_E.topk(min(self.candidates, first_E.shape[-1]), dim=-1)
        some_M = top.indices.unique()
        read_MR = (x_I @ rows_ERI[some_M].flatten(0, 1).mT).unflatten(-1, (len(some_M), -1))
        score_E = torch.full_like(first_E, -1).index_copy(-1, some_M, read_MR.square().sum(-1))
        theirs_E = torch.zeros_like(first_E).scatter(-1, top.indices, (top.values >= 0).to(first_E))
        best = score_E.masked_fill(theirs_E == 0, -1).topk(min(self.top_k, first_E.shape[-1]), dim=-1)
        w_E = torch.zeros_like(first_E).scatter(-1, best.indices, (best.values >= 0).to(first_E))
        return (w_E / w_E.sum(-1, keepdim=True).clamp(min=1)).unsqueeze(-2)
