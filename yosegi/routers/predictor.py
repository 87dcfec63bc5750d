"""Predictor: a classifier reads the prompt, and the weight of an expert is the probability of its tasks.

TP in Ostapenko et al. 2024, "Towards Modular LLMs by Building and Reusing a Library of LoRAs", arXiv:2405.11157.

    p(task) = softmax( W₂ W₁ f )       f: frozen features of the prompt (engine/features.py); only tasks of some expert
    w_e     ∝ Σ p(task) over the tasks of e
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, linear

from yosegi.core.bank import Bank
from yosegi.errors import Invalid, UnknownName
from yosegi.routers._learnt import PromptRouter, Shared

NAMES = ("down_HF", "shift_H", "up_KH", "shift_K")


class Predictor(PromptRouter):
    """Args:
    tasks: the classes, in order; by default the tasks of the experts. Tasks of no expert help in training and are never
        predicted.
    top_k: experts per sequence, at most all of them; None for all.
    width: the width of the hidden layer.
    encoder: the model that computes the features; by default the base itself.
    """

    def __init__(self, tasks: Sequence[str] = (), top_k: int | None = None, width: int = 768, encoder: str = ""):
        super().__init__()
        if (top_k is not None and top_k < 1) or width < 1:
            raise Invalid(f"predictor needs top_k >= 1 and width >= 1, not {top_k} and {width}.")
        self.tasks, self.top_k, self.width, self.encoder = tuple(tasks), top_k, width, encoder
        self.learnt = Shared("predictor", *NAMES)

    def bind(self, bank: Bank) -> None:
        """Records which expert was trained on which task."""
        classes, device = self.tasks or tuple(bank.tasks), bank.A_ERI.device
        H, K = self.width, len(classes)
        self.learnt.belong(classes, device, down_HF=(H, None), shift_H=(H,), up_KH=(K, H), shift_K=(K,))
        table_KE = torch.tensor([[float(task in tasks) for tasks in bank.tasks_E] for task in classes])
        if not table_KE.any():
            raise Invalid(f"None of {', '.join(bank.names)} was trained on a task of the predictor.")
        self.register_buffer("table_KE", table_KE.to(device), persistent=False)
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
        """Trains the classifier with cross-entropy and Adam.

        Args:
            features_NF: the features of the prompts.
            tasks: the task of each prompt.
            seed: seed of the initial weights and of the order.
            steps: the number of steps.
            lr: the learning rate.
            batch: prompts per step.
            log: is called with the number and the loss of each step.
        """
        classes = self.learnt.owners
        for task in set(tasks) - set(classes):
            raise UnknownName.among("task of this predictor", task, classes)
        features_NF = features_NF.detach().float().cpu()
        task_N = torch.tensor([classes.index(task) for task in tasks])
        generator = torch.Generator().manual_seed(seed)

        def start(*shape: int, inputs: int) -> Tensor:
            return ((2 * torch.rand(shape, generator=generator) - 1) / inputs**0.5).requires_grad_()

        H, K, (N, F) = self.width, len(classes), features_NF.shape
        weights = [start(H, F, inputs=F), start(H, inputs=F), start(K, H, inputs=H), start(K, inputs=H)]
        adam = torch.optim.Adam(weights, lr)
        order_X = torch.cat([torch.randperm(N, generator=generator) for _ in range(-(-steps * batch // N))])
        with torch.enable_grad():
            for step, chosen_B in enumerate(order_X[: steps * batch].split(batch), 1):
                loss = cross_entropy(_logits(features_NF[chosen_B], *weights), task_N[chosen_B])
                adam.zero_grad()
                loss.backward()
                adam.step()
                log(step, loss.item())
        self.learnt.set(**{name: tensor.detach() for name, tensor in zip(NAMES, weights, strict=True)})

    @torch.no_grad()
    def decide(self, features_BF: Tensor) -> Tensor:
        """Returns the weights [B, E] for the features of the prompts."""
        weights, table_KE = [self.learnt.get(name).float() for name in NAMES], torch.as_tensor(self.table_KE).float()
        logit_BK = _logits(features_BF.to(table_KE.device), *weights)
        share_BE = logit_BK.masked_fill(table_KE.sum(-1) == 0, -torch.inf).softmax(-1) @ table_KE
        if self.top_k is not None and self.top_k < share_BE.shape[-1]:
            top = share_BE.topk(self.top_k, dim=-1)
            share_BE = torch.zeros_like(share_BE).scatter(-1, top.indices, top.values)
        return share_BE / share_BE.sum(-1, keepdim=True)


def _logits(f_BF: Tensor, down_HF: Tensor, shift_H: Tensor, up_KH: Tensor, shift_K: Tensor) -> Tensor:
    return linear(linear(f_BF, down_HF, shift_H), up_KH, shift_K)
