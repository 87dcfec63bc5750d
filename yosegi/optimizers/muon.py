"""Muon: the momentum of a matrix, with its singular values brought near one, is the step. Everything else is AdamW's.

Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks", https://kellerjordan.github.io/posts/muon; the
step is scaled to the size of AdamW's, so that one learning rate serves both, as in Liu et al. 2025, "Muon is Scalable for LLM
Training", arXiv:2502.16982.

    M = μ M + (1 - μ) G          U = the orthogonal factor of G + μ (M - G), by Newton-Schulz: matrix products only
    W = (1 - lr weight_decay) W - lr 0.2 √max(O, I) U

Groups say which weights are matrices in more than shape, as in galore.py: embeddings and norms go into a group with
`rank` None, which AdamW trains.

Shapes: O x I of a matrix, L of them, any leading axes a stack of matrices.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from yosegi.optimizers._groups import check

COEFFICIENTS = (3.4445, -4.775, 2.0315)
"""Of Jordan's polynomial, which takes singular values to about [0.7, 1.2] in five steps."""


class Muon(torch.optim.Optimizer):
    """Muon over matrices, or stacks of them, and AdamW over whatever a group with `rank` None holds.

    Matrices are orthogonalised in the precision of the weights, and all of one shape at once: torch's own computes in bfloat16,
    which takes ten times longer than fp32 where the CPU has no unit for it.

    Args:
        params: matrices, or groups. A group may have its own lr and weight_decay.
        lr: of all steps.
        weight_decay: decoupled.
        betas: of AdamW's moments.
        eps: of AdamW's denominator.
        momentum: μ.
        steps: of Newton-Schulz.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        weight_decay: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
        momentum: float = 0.95,
        steps: int = 5,
    ):
        self._adamw = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(()))])
        more = {"betas": betas, "eps": eps, "momentum": momentum, "steps": steps, "rank": 0}
        super().__init__(params, {**self._adamw.defaults, "lr": lr, "weight_decay": weight_decay, **more})
        for group in self.param_groups:
            check(group, "orthogonalised")

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Takes one step of every weight that has a gradient."""
        for group in self.param_groups:
            shapes: dict[torch.Size, list[Tensor]] = {}
            for weight in group["params"] if group["rank"] is not None else ():
                if weight.grad is not None:
                    shapes.setdefault(weight.shape, []).append(weight)
            for shape, weights in shapes.items():
                size = 0.2 * max(shape[-2:]) ** 0.5  # AdamW's
                for weight, update in zip(weights, self._updates(weights, group), strict=True):
                    weight.mul_(1 - group["lr"] * group["weight_decay"])
                    weight.add_(update, alpha=-size * group["lr"])
        self._adamw.state = self.state
        self._adamw.param_groups = [group for group in self.param_groups if group["rank"] is None]
        self._adamw.step()

    def _updates(self, weights: list[Tensor], group: dict[str, Any]) -> Tensor:
        ahead: list[Tensor] = []
        for weight in weights:
            assert weight.grad is not None  # step() took only those that have one
            memory = self.state[weight]
            if "momentum_buffer" not in memory:
                memory["momentum_buffer"] = torch.zeros_like(weight)
            memory["momentum_buffer"].lerp_(weight.grad, 1 - group["momentum"])
            ahead.append(weight.grad.lerp(memory["momentum_buffer"], group["momentum"]))  # Nesterov
        return orthogonal(torch.stack(ahead), group["steps"])


def orthogonal(X_LOI: Tensor, steps: int = 5) -> Tensor:
    """Returns each of L matrices with its singular values brought near 1."""
    a, b, c = COEFFICIENTS
    tall = X_LOI.shape[-2] > X_LOI.shape[-1]
    X = X_LOI.mT if tall else X_LOI  # the Gram matrix is of the smaller side
    X = X / X.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    *stack, M, N = X.shape
    X = X.reshape(-1, M, N)
    for _ in range(steps):
        G = X @ X.mT
        X = torch.baddbmm(X, torch.baddbmm(G, G, G, beta=b, alpha=c), X, beta=a)
    X = X.reshape(*stack, M, N)
    return X.mT if tall else X
