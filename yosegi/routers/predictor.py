"""Predictor: a classifier reads the prompt, and each expert is heard as likely as the tasks it learnt are.

TP in Ostapenko et al. 2024, "Towards Modular LLMs by Building and Reusing a Library of LoRAs", arXiv:2405.11157.

    p(task) = softmax( W₂ W₁ f )       f the frozen features of the prompt (sentences.py); no task that nobody learnt
    w_e     ∝ Σ p(task) over the tasks of e

One decision a sequence, the same in all layers. Where an expert lacks a layer its share is silence, as with the oracle: it is
not given to those that the prompt has little to do with.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, linear

from yosegi.core.bank import Bank
from yosegi.core.context import Context
from yosegi.core.router import Router
from yosegi.errors import Invalid, UnknownName
from yosegi.routers._learnt import Shared

NAMES = ("down_HF", "shift_H", "up_KH", "shift_K")


class Predictor(Router):
    """Args:
    tasks: what the classifier tells apart, in order; none for the tasks of the experts. Those that no expert learnt help it
        to learn, and are never predicted.
    top_k: experts kept per sequence; None for all.
    width: of its hidden layer.
    encoder: of the features; none for the base itself.
    """

    needs = "features"
    learns = "prompts"

    def __init__(self, tasks: Sequence[str] = (), top_k: int | None = None, width: int = 768, encoder: str = ""):
        super().__init__()
        if (top_k is not None and top_k < 1) or width < 1:
            raise Invalid(f"predictor needs top_k >= 1 and width >= 1, not {top_k} and {width}.")
        self.tasks, self.top_k, self.width, self.encoder = tuple(tasks), top_k, width, encoder
        self.learnt = Shared("predictor", *NAMES)

    def bind(self, bank: Bank) -> None:
        """Who learnt which of the tasks."""
        known, device = self.tasks or tuple(bank.tasks), bank.A_ERI.device
        H, K = self.width, len(known)
        self.learnt.belong(known, device, down_HF=(H, None), shift_H=(H,), up_KH=(K, H), shift_K=(K,))
        who_KE = torch.tensor([[float(task in learnt) for learnt in bank.tasks_E] for task in known])
        if not who_KE.any():
            raise Invalid(f"Nobody of {', '.join(bank.names)} learnt any task that the predictor tells apart.")
        self.register_buffer("who_KE", who_KE.to(device), persistent=False)
        self.register_buffer("present_E", bank.present_E.float(), persistent=False)

    def fit(
        self,
        features_NF: Tensor,
        tasks: Sequence[str],
        *,
        seed: int = 0,
        steps: int = 500,
        lr: float = 1e-3,
        batch: int = 64,
        log: Callable[[int, float], None] = lambda step, loss: None,
    ) -> None:
        """Train the classifier on prompts, each of one task: cross-entropy and Adam.

        Args:
            features_NF: of the prompts.
            tasks: of the prompts.
            seed: of its start and of the order.
            steps: of Adam.
            lr: its learning rate.
            batch: prompts a step.
            log: is told the loss of each step.
        """
        known = self.learnt.whose
        for task in set(tasks) - set(known):
            raise UnknownName.among("task of this predictor", task, known)
        own_NF = features_NF.detach().float().cpu()
        task_N = torch.tensor([known.index(task) for task in tasks])
        generator = torch.Generator().manual_seed(seed)

        def start(*shape: int, inputs: int) -> Tensor:
            return ((2 * torch.rand(shape, generator=generator) - 1) / inputs**0.5).requires_grad_()

        H, K, F = self.width, len(known), own_NF.shape[1]
        theirs = [start(H, F, inputs=F), start(H, inputs=F), start(K, H, inputs=H), start(K, inputs=H)]
        adam = torch.optim.Adam(theirs, lr)
        place_X = torch.cat(
            [torch.randperm(len(own_NF), generator=generator) for _ in range(-(-steps * batch // len(own_NF)))]
        )
        with torch.enable_grad():
            for step in range(steps):
                some = place_X[step * batch : (step + 1) * batch]
                loss = cross_entropy(_logits(own_NF[some], *theirs), task_N[some])
                adam.zero_grad()
                loss.backward()
                adam.step()
                log(step + 1, loss.item())
        self.learnt.set(**{name: tensor.detach() for name, tensor in zip(NAMES, theirs, strict=True)})

    def forward(self, x_I: Tensor, context: Context) -> Tensor:
        """[B, 1, 1, E]: the same for every token of a sequence."""
        w_BE = context.once.get(self.learnt)
        if w_BE is None:
            w_BE = context.once[self.learnt] = self._decide(context.features_BF)
        return (w_BE * torch.as_tensor(self.present_E).float())[:, None, None]

    @torch.no_grad()
    def _decide(self, features_BF: Tensor | None) -> Tensor:
        who_KE, theirs = torch.as_tensor(self.who_KE).float(), [self.learnt.get(name).float() for name in NAMES]
        if features_BF is None:
            raise Invalid("The router predictor needs to hear the features of each prompt.")
        logit_BK = _logits(features_BF.float().to(who_KE.device), *theirs)
        share_BE = logit_BK.masked_fill(who_KE.sum(-1) == 0, -torch.inf).softmax(-1) @ who_KE
        if self.top_k is not None and self.top_k < share_BE.shape[-1]:
            top = share_BE.topk(self.top_k, dim=-1)
            share_BE = torch.zeros_like(share_BE).scatter(-1, top.indices, top.values)
        return share_BE / share_BE.sum(-1, keepdim=True)


def _logits(f_BF: Tensor, down_HF: Tensor, shift_H: Tensor, up_KH: Tensor, shift_K: Tensor) -> Tensor:
    return linear(linear(f_BF, down_HF, shift_H), up_KH, shift_K)
