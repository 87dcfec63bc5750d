"""Retrieval: the experts whose prompts are nearest to this one.

Zhao et al. 2024, "LoraRetriever: Input-Aware LoRA Retrieval and Composition for Mixed Tasks in the Wild", arXiv:2402.09997;
Jang et al. 2023, "Exploring the Benefits of Training Expert Language Models over Instruction Tuning", arXiv:2302.03202.

    p_e = the mean of the unit features of prompts of the expert's tasks (sentences.py)
    w   = softmax over the top_k of  cos(f, p_e) / temperature

One decision a sequence, the same in all layers; where an expert lacks a layer its share is silence, as with the oracle.
For a new task with a few examples, give every sequence the mean of their features: one choice of experts for the task.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from yosegi.core.bank import Bank
from yosegi.core.context import Context
from yosegi.core.router import Router
from yosegi.errors import Invalid
from yosegi.routers._learnt import Shared


class Retrieval(Router):
    """Args:
    top_k: experts kept per sequence; the rest are silent. More than there are means all.
    temperature: at 1 those kept weigh nearly the same, as in LoraRetriever. Prompts of one form are alike to 0.97 and more,
        and to part these it has to be as small as it is.
    encoder: of the features; none for the base itself.
    """

    needs = "features"
    learns = "prompts"

    def __init__(self, top_k: int = 3, temperature: float = 0.02, encoder: str = ""):
        super().__init__()
        if top_k < 1 or not temperature > 0:
            raise Invalid(f"retrieval needs top_k >= 1 and temperature > 0, not {top_k} and {temperature}.")
        self.top_k, self.temperature, self.encoder = top_k, temperature, encoder
        self.tasks_E: tuple[tuple[str, ...], ...] = ()
        self.learnt = Shared("retrieval", "prototype_EF")

    def bind(self, bank: Bank) -> None:
        """Who learnt what."""
        self.tasks_E = bank.tasks_E
        self.learnt.belong(bank.names, bank.A_ERI.device, prototype_EF=(len(bank.names), None))
        self.register_buffer("present_E", bank.present_E.float(), persistent=False)

    def fit(self, features_NF: Tensor, tasks: Sequence[str]) -> None:
        """Keep what the prompts of each expert have in common. `tasks` are those of the prompts."""
        unit_NF, own = normalize(features_NF.detach().float(), dim=-1), list[Tensor]()
        for name, learnt in zip(self.learnt.whose, self.tasks_E, strict=True):
            mine = [n for n, task in enumerate(tasks) if task in learnt]
            if not mine:
                raise Invalid(f"The router retrieval has no prompts for expert {name!r}, which learnt {list(learnt)}.")
            own.append(unit_NF[mine].mean(0))
        self.learnt.set(prototype_EF=normalize(torch.stack(own), dim=-1))

    def forward(self, x_I: Tensor, context: Context) -> Tensor:
        """[B, 1, 1, E]: the same for every token of a sequence."""
        w_BE = context.once.get(self.learnt)
        if w_BE is None:
            w_BE = context.once[self.learnt] = self._decide(context.features_BF)
        return (w_BE * torch.as_tensor(self.present_E).float())[:, None, None]

    @torch.no_grad()
    def _decide(self, features_BF: Tensor | None) -> Tensor:
        prototype_EF = self.learnt.get("prototype_EF").float()
        if features_BF is None:
            raise Invalid("The router retrieval needs to hear the features of each prompt.")
        score_BE = normalize(features_BF.float().to(prototype_EF.device), dim=-1) @ prototype_EF.mT / self.temperature
        top = score_BE.topk(min(self.top_k, score_BE.shape[-1]), dim=-1)
        return torch.zeros_like(score_BE).scatter(-1, top.indices, top.values.softmax(-1))
