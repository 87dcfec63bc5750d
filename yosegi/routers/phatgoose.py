"""PHATGOOSE: each expert learns, after it is trained and on its own data alone, a gate that says which tokens are its.

Muqeeth et al. 2024, "Learning to Route Among Specialized Experts for Zero-Shot Generalization", arXiv:2402.05859.

    learning   y = W x + σ(v_eᵀx) ΔW_e x      only v_e moves, from 0; nobody knows of the others
    routing    w = softmax over the top_k of  LN(x)·LN(v_e) / √I        LN without scale and shift
"""

from math import sqrt

import torch
from torch import Tensor
from torch.nn.functional import layer_norm

from yosegi.core.bank import Bank
from yosegi.core.context import Context
from yosegi.core.router import Router
from yosegi.errors import Invalid
from yosegi.routers._learnt import Learnt


class Phatgoose(Router):
    """Args:
    top_k: experts kept per token; the rest are silent. More than there are means all.
    """

    learns = "gates"

    def __init__(self, top_k: int = 2):
        super().__init__()
        if top_k < 1:
            raise Invalid(f"phatgoose needs top_k >= 1, not {top_k}.")
        self.top_k = top_k
        self.gating = False
        self.learnt = Learnt("phatgoose", "gate_EI")

    @property
    def one_each(self) -> bool:  # type: ignore[override]
        """While it learns, a sequence hears its own expert and no other."""
        return self.gating

    def bind(self, bank: Bank) -> None:
        """Make room for the gates."""
        E, I = len(bank.names), bank.A_ERI.shape[-1]
        self.learnt.belong(bank.names, bank.A_ERI.device, gate_EI=(E, I))
        rows_EE = torch.eye(E + 1, E, device=bank.A_ERI.device)  # the last is silence, for -1
        self.register_buffer("rows_EE", rows_EE, persistent=False)
        self.register_buffer("silent_E", ~bank.present_E, persistent=False)

    def begin(self) -> Tensor:
        """Gates [E, I] of zero, for an optimizer. Until `end`, sequences hear the expert they ask for through its gate."""
        self.gating = True
        return self.learnt.zeros("gate_EI").requires_grad_()

    def end(self) -> None:
        """The gates are what they are now; route by them."""
        self.gating = False
        self.learnt.set(gate_EI=self.learnt.get("gate_EI").detach())

    def forward(self, x_I: Tensor, context: Context) -> Tensor:
        """[..., 1, E]: token by token."""
        gate_EI = self.learnt.get("gate_EI").float()
        if self.gating:
            if context.expert_B is None:
                raise Invalid("The router phatgoose needs to hear which expert each sequence asks for while it learns.")
            own_BI = gate_EI[context.expert_B.clamp(min=0)]
            open_BT = (x_I.float() @ own_BI[..., None]).squeeze(-1).sigmoid()
            return (open_BT[..., None] * torch.as_tensor(self.rows_EE)[context.expert_B][:, None]).unsqueeze(-2)
        I = x_I.shape[-1]
        score_E = layer_norm(x_I.float(), (I,)) @ layer_norm(gate_EI, (I,)).mT / sqrt(I)
        score_E = score_E.masked_fill(torch.as_tensor(self.silent_E), -torch.inf)
        top = score_E.topk(min(self.top_k, score_E.shape[-1]), dim=-1)
        return torch.zeros_like(score_E).scatter(-1, top.indices, top.values.softmax(-1)).unsqueeze(-2)
