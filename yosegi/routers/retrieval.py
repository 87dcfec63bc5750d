"""Retrieval: the experts whose training prompts are nearest to this prompt.

Zhao et al. 2024, "LoraRetriever: Input-Aware LoRA Retrieval and Composition for Mixed Tasks in the Wild", arXiv:2402.09997;
Jang et al. 2023, "Exploring the Benefits of Training Expert Language Models over Instruction Tuning", arXiv:2302.03202.

    p_e = the mean of the unit features of prompts of the expert's tasks (engine/features.py)
    w   = softmax over the top_k of  cos(f, p_e) / temperature

For a new task with a few examples, give every sequence the mean of their features: then the choice is one for the task.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from yosegi.core.bank import Bank
from yosegi.errors import Invalid
from yosegi.routers._choose import softmax_of_top
from yosegi.routers._learnt import PromptRouter, Shared


class Retrieval(PromptRouter):
    """Args:
    top_k: experts per sequence, at most all of them.
    temperature: at 1 the chosen experts have nearly equal weights, as in LoraRetriever. Prompts of one form have cosines of
        0.97 and more, and only a small temperature tells them apart.
    encoder: the model that computes the features; by default the base itself.
    """

    def __init__(self, top_k: int = 3, temperature: float = 0.02, encoder: str = ""):
        super().__init__()
        if top_k < 1 or not temperature > 0:
            raise Invalid(f"retrieval needs top_k >= 1 and temperature > 0, not {top_k} and {temperature}.")
        self.top_k, self.temperature, self.encoder = top_k, temperature, encoder
        self.tasks_E: tuple[tuple[str, ...], ...] = ()
        self.learnt = Shared("retrieval", "prototype_EF")

    def bind(self, bank: Bank) -> None:
        """Records which expert was trained on which tasks."""
        self.tasks_E = bank.tasks_E
        self.learnt.belong(bank.names, bank.A_ERI.device, prototype_EF=(len(bank.names), None))
        self.register_buffer("present_E", bank.present_E.float(), persistent=False)

    def fit(self, features_NF: Tensor, tasks: Sequence[str]) -> None:
        """Stores the mean features of each expert's prompts; `tasks` names the task of each prompt."""
        unit_NF, means = normalize(features_NF.detach().float(), dim=-1), list[Tensor]()
        for name, trained in zip(self.learnt.owners, self.tasks_E, strict=True):
            rows = [n for n, task in enumerate(tasks) if task in trained]
            if not rows:
                raise Invalid(f"The router retrieval has no prompts for expert {name!r}, trained on {list(trained)}.")
            means.append(unit_NF[rows].mean(0))
        self.learnt.set(prototype_EF=normalize(torch.stack(means), dim=-1))

    @torch.no_grad()
    def decide(self, features_BF: Tensor) -> Tensor:
        """Returns the weights [B, E] for the features of the prompts."""
        prototype_EF = self.learnt.get("prototype_EF").float()
        score_BE = normalize(features_BF.to(prototype_EF.device), dim=-1) @ prototype_EF.mT
        return softmax_of_top(score_BE / self.temperature, self.top_k)
