"""PHATGOOSE: after its training each expert learns, on its own data alone, a gate that recognises its tokens.

Muqeeth et al. 2024, "Learning to Route Among Specialized Experts for Zero-Shot Generalization", arXiv:2402.05859.

    training   y = W x + σ(v_eᵀx) ΔW_e x      only v_e is trained, from 0; experts do not know of each other
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
from yosegi.routers._choose import softmax_of_top
from yosegi.routers._learnt import Learnt


class Phatgoose(Router):
    """Args:
    top_k: experts per token, at most all of them.
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
        """While the gates are trained, only the expert of a sequence is active."""
        return self.gating

    def bind(self, bank: Bank) -> None:
        """Declares the gates."""
        E, I = len(bank.names), bank.A_ERI.shape[-1]
        self.learnt.belong(bank.names, bank.A_ERI.device, gate_EI=(E, I))
        rows_EE = torch.eye(E + 1, E, device=bank.A_ERI.device)  # the last row, of zeros, is for -1: the base alone
        self.register_buffer("rows_EE", rows_EE, persistent=False)
        self.register_buffer("absent_E", ~bank.present_E, persistent=False)

    def begin(self) -> Tensor:
        """Starts the training: returns gates [E, I] of zero. Until `end`, `Context.expert_B` names each sequence's expert."""
        self.gating = True
        self.learnt.set(gate_EI=torch.zeros([size or 0 for size in self.learnt.shapes["gate_EI"]]))
        return self.learnt.get("gate_EI").requires_grad_()

    def end(self) -> None:
        """Ends the training: from now on the gates route."""
        self.gating = False
        self.learnt.set(gate_EI=self.learnt.get("gate_EI").detach())

    def forward(self, x_I: Tensor, context: Context) -> Tensor:
        """Returns [..., 1, E]: weights for each token."""
        gate_EI = self.learnt.get("gate_EI").float()
        if self.gating:
            expert_B = self.given(context, "experts")
            gate_BI = gate_EI[expert_B.clamp(min=0)]
            open_BT = (x_I.float() @ gate_BI[..., None]).squeeze(-1).sigmoid()
            return (open_BT[..., None] * torch.as_tensor(self.rows_EE)[expert_B][:, None]).unsqueeze(-2)
        I = x_I.shape[-1]
        score_E = layer_norm(x_I.float(), (I,)) @ layer_norm(gate_EI, (I,)).mT / sqrt(I)
        return softmax_of_top(score_E, self.top_k, torch.as_tensor(self.absent_E)).unsqueeze(-2)
