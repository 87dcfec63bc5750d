"""APOLLO: how far to step is learnt in a few random directions of the gradient; the step is the gradient itself.

Zhu et al. 2024, "APOLLO: SGD-like Memory, AdamW-level Performance", arXiv:2412.05270.

    every `update_gap` steps   P [R, K], drawn anew from a seed: nothing is looked for, and nothing but the seed is kept
    L = P G                    N = Adam's step for L, whose two moments have L's shape           K: the smaller side of G
    s = ‖N‖ / ‖L‖              of every column, or of the whole matrix: `by`
    W = (1 - lr weight_decay) W - lr scale s G

No step is more than `growth` times as long as the one before. Where GaLore moves a weight inside of R directions at a time, this
moves it in all of them; of Adam's step for each number it keeps only the mean over a column. Groups say which weights are
treated so, as in galore.py; a group with `rank` None is AdamW.

    Apollo([{"params": matrices, "rank": 16}, {"params": norms, "rank": None, "lr": 0.0025}], lr=0.01)

The paper's APOLLO-Mini is rank=1, by="tensor", scale=128**0.5.

Shapes: M x N of a gradient, any leading axes a stack of matrices; R rank.
"""

import hashlib
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from yosegi.errors import Invalid
from yosegi.optimizers._groups import check

BY = ("channel", "tensor")
LEAST = 1e-8
"""Beside the length of a column: one that is as good as dead is not thrown about by what is left of its moments."""


class Apollo(torch.optim.Optimizer):
    """APOLLO over matrices, or stacks of them, and AdamW over whatever a group with `rank` None holds.

    The state of a weight: `step`, the two moments, and the length of the last step.

    Args:
        params: matrices, or groups. A group may have its own of everything but the seed.
        lr: of all steps; of projected weights it is multiplied by `scale` and has no quarter as GaLore's.
        weight_decay: decoupled.
        betas: of Adam's moments.
        eps: of Adam's denominator.
        rank: random directions; of a smaller matrix as many as it has.
        update_gap: steps between two drawings.
        scale: of the step.
        by: channel: each column of the smaller side has a step size of its own; tensor: the matrix has one.
        growth: the longest step, in lengths of the one before; None for any.
        seed: of the directions.

    Raises:
        Invalid: a number makes no sense, or a weight is no matrix.
        UnknownName: `by` is none of BY.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        weight_decay: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        rank: int | None = 16,
        update_gap: int = 200,
        scale: float = 1.0,
        by: str = "channel",
        growth: float | None = 1.01,
        seed: int = 0,
    ):
        self.seed = seed
        defaults = {"lr": lr, "weight_decay": weight_decay, "betas": betas, "eps": eps, "rank": rank}
        super().__init__(params, {**defaults, "update_gap": update_gap, "scale": scale, "by": by, "growth": growth})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Checks a group before anything moves."""
        super().add_param_group(param_group)
        _check(self.param_groups[-1])
        self._number = {p: n for n, p in enumerate(p for group in self.param_groups for p in group["params"])}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from what `state_dict` gave, to the last bit: torch would round the moments to the weights' precision."""
        super().load_state_dict(state_dict)
        saved = [index for group in state_dict["param_groups"] for index in group["params"]]
        for weight, index in zip(self._number, saved, strict=True):
            memory = state_dict["state"].get(index, {})
            self.state[weight] = {
                key: value if key == "step" else value.to(weight.device, copy=True) for key, value in memory.items()
            }

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Takes one step of every weight that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._advance(weight, group)
        return loss

    def _advance(self, weight: nn.Parameter, group: dict[str, Any]) -> None:
        assert weight.grad is not None
        G, memory = weight.grad.float(), self.state[weight]
        turn = int(memory.get("step", 0))
        rows = group["rank"] is None or G.shape[-2] <= G.shape[-1]
        low = G if group["rank"] is None else self._project(G, weight, group, turn, rows)
        if not memory:
            memory |= {"exp_avg": torch.zeros_like(low), "exp_avg_sq": torch.zeros_like(low)}
        memory["step"] = torch.tensor(turn + 1, dtype=torch.int32)
        m, root, rate = _adam(low, memory, turn + 1, group)
        if group["weight_decay"]:
            weight.mul_(1 - group["lr"] * group["weight_decay"])
        if group["rank"] is None:
            weight.addcdiv_(m.to(weight.dtype), root.to(weight.dtype), value=-group["lr"] * rate)
            return
        axes = (-2 if rows else -1) if group["by"] == "channel" else (-2, -1)
        s = group["scale"] * rate * _length(m / root, axes) / (_length(low, axes) + LEAST)
        if group["growth"] is not None:
            length = (_length(G, axes) * s).square().sum((-2, -1), keepdim=True).sqrt()
            before = memory.get("length", torch.zeros_like(length))
            before = torch.where(before > 0, before, torch.inf)  # a weight that has not moved may do as it likes
            shorter = (group["growth"] * before / length.clamp_min(1e-30)).clamp_max(1)
            memory["length"], s = length * shorter, s * shorter
        weight.addcmul_(weight.grad, s.to(weight.dtype), value=-group["lr"])

    def _project(self, G: Tensor, weight: nn.Parameter, group: dict[str, Any], turn: int, rows: bool) -> Tensor:
        """Returns the gradient in random directions of its smaller side, the same in every process: [R, N], or [M, R]."""
        K = min(G.shape[-2:])
        rank = min(group["rank"], K)
        drawing = f"{self.seed} {self._number[weight]} {turn // group['update_gap']}"
        digest = hashlib.blake2b(drawing.encode(), digest_size=4).digest()  # a CPU's generator reads 32 bits of a seed
        generator = torch.Generator(G.device).manual_seed(int.from_bytes(digest))
        P_RK = torch.randn(rank, K, generator=generator, device=G.device) / rank**0.5
        return P_RK @ G if rows else G @ P_RK.mT


def _adam(low: Tensor, memory: dict[str, Any], turn: int, group: dict[str, Any]) -> tuple[Tensor, Tensor, float]:
    """Returns (m, sqrt(v) + eps, the correction of the bias of m): Adam's step is their quotient times the last."""
    (b1, b2), m, v = group["betas"], memory["exp_avg"], memory["exp_avg_sq"]
    m.lerp_(low, 1 - b1)
    v.mul_(b2).addcmul_(low, low, value=1 - b2)
    return m, (v / (1 - b2**turn)).sqrt_().add_(group["eps"]), 1 / (1 - b1**turn)


def _length(x: Tensor, axes: int | tuple[int, int]) -> Tensor:
    return x.square().sum(axes, keepdim=True).sqrt_()  # on a CPU four times as fast as vector_norm along columns


def _check(group: dict[str, Any]) -> None:
    b1, b2 = pair if isinstance(pair := group["betas"], tuple | list) and len(pair) == 2 else (None, None)
    numbers = all(isinstance(b, int | float) and 0 <= b < 1 for b in (b1, b2))
    if not numbers or not isinstance(group["eps"], int | float):
        raise Invalid(f"betas={group['betas']!r}, eps={group['eps']!r}: two numbers from 0 to 1, and one.")
    growth = group["growth"]
    if growth is not None and not (isinstance(growth, int | float) and growth >= 1):
        raise Invalid(f"growth={growth} would end with no steps at all: at least 1, or None.")
    check(group, "projected", ("rank", "update_gap"), {"by": BY})
