"""One optimiser for many learners, each as if it were alone: its gradient norm, its schedule, its end, its mask.

Shapes: G learners. With several, the first axis of every parameter counts them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from yosegi import files, registry
from yosegi.masks import Seen
from yosegi.run import peak_memory
from yosegi.training import checkpoint
from yosegi.training.settings import Settings


class Part(NamedTuple):
    """Parameters that share a schedule: all of each, or the slice [first:last] of its first axis, learner by learner."""

    parameters: Mapping[str, nn.Parameter]
    lr: float
    steps: int
    slice: tuple[int, int] | None = None


@dataclass
class Outcome:
    """What it cost, and who did not get to the end."""

    tokens: int = 0
    wall_s: float = 0.0
    diverged: dict[str, int] = field(default_factory=dict)
    """Learner -> the step at which its loss or gradient stopped being finite. It is given up; the others go on."""


class Update:
    """Takes the steps, and remembers them.

    Args:
        parts: what moves; every parameter (or slice of one) once.
        names: of the learners.
        settings: the optimiser, mask, schedule and clipping.
        masks: True where an entry may move, by parameter; by default as the settings have it.
    """

    def __init__(
        self, parts: Sequence[Part], names: Sequence[str], settings: Settings, masks: Mapping[str, Tensor] | None = None
    ):
        self.parts, self.names, self.settings, self.outcome = parts, names, settings, Outcome()
        self.parameters = {name: p for part in parts for name, p in part.parameters.items()}
        moves = _moves(self.parameters, settings, len(names)) if masks is None else masks
        self.seen = [[Seen(p, part.slice, moves.get(name)) for name, p in part.parameters.items()] for part in parts]
        self.optimizer: torch.optim.Optimizer = registry.find("optimizers", settings.optimizer)(
            [{"params": [s.leaf for s in own], "lr": part.lr} for own, part in zip(self.seen, parts, strict=True)],
            settings.learning_rate,
            weight_decay=settings.weight_decay,
            betas=(settings.adam_beta1, settings.adam_beta2),
        )
        self.share = {steps: rates(settings, steps) for steps in {part.steps for part in parts}}

    def step(self, step: int, at_work: Sequence[int], losses_G: Tensor) -> tuple[list[int], list[float], list[float]]:
        """One step with the gradients that the parameters have now; they are gone afterwards.

        Args:
            step: how many were taken before.
            at_work: the learners whose gradients count.
            losses_G: one that is not finite has diverged.

        Returns those of `at_work` that are well, and of all learners the gradient norm and the learning rate.
        """
        grads = [p.grad for p in self.parameters.values() if p.grad is not None]
        norms = _clip(grads, len(self.names), self.settings.max_grad_norm)
        finite = (losses_G.isfinite() & norms.isfinite()).tolist()
        for g in at_work:
            if not finite[g]:  # before the update: a checkpoint never holds it, and the others never feel it
                self.outcome.diverged[self.names[g]] = step + 1
        for group, part, own in zip(self.optimizer.param_groups, self.parts, self.seen, strict=True):
            group["lr"] = part.lr * self.share[part.steps](step)
            _hand_over(part, own, step)
        self.optimizer.step()
        for seen in (seen for own in self.seen for seen in own):
            seen.write()
        self.optimizer.zero_grad()
        for parameter in self.parameters.values():
            parameter.grad = None
        return [g for g in at_work if finite[g]], norms.tolist(), self._rates()

    def state_bytes(self) -> int:
        """What the optimiser remembers, in bytes: less where a mask lets less move."""
        memory = (value for state in self.optimizer.state.values() for value in state.values())
        return sum(value.numel() * value.element_size() for value in memory if isinstance(value, Tensor))

    def save(self, folder: Path, step: int, over: bool, what: Mapping[str, Any]) -> None:
        """Write a checkpoint, whole or not at all."""
        with files.new_folder(folder) as new:
            schedule = {"_last_lr": [group["lr"] for group in self.optimizer.param_groups]}
            checkpoint.save_state(new, self.parameters, self.optimizer, schedule, what)
            files.write_json(
                new / "progress.json", {"step": step, "over": over, **vars(self.outcome), "peak_mem_mb": peak_memory()}
            )

    def load(self, folder: Path, what: Mapping[str, Any]) -> int:
        """Go on from a checkpoint; returns its step.

        Raises:
            Invalid: it is of another training.
        """
        checkpoint.check(folder, what)
        checkpoint.load_parameters(folder, self.parameters)
        for seen in (seen for own in self.seen for seen in own):
            seen.read()
        checkpoint.load_optimizer(folder, self.optimizer)
        checkpoint.load_rng(folder)
        saved = files.read_json(folder / "progress.json")
        outcome = self.outcome
        outcome.tokens, outcome.wall_s, outcome.diverged = saved["tokens"], saved["wall_s"], saved["diverged"]
        return saved["step"]

    def _rates(self) -> list[float]:
        """What each learner's factors moved with; of a bank its experts', which stand after the router's."""
        lr_G = [self.optimizer.param_groups[-1]["lr"]] * len(self.names)
        for group, part in zip(self.optimizer.param_groups, self.parts, strict=True):
            if part.slice is not None:
                first, last = part.slice
                lr_G[first:last] = [group["lr"]] * (last - first)
        return lr_G


def rates(settings: Settings, steps: int) -> Callable[[int], float]:
    """step (from 0) -> share of the learning rate, as transformers' schedule of that name has it."""
    from transformers import get_scheduler

    nobody = torch.optim.SGD([nn.Parameter(torch.zeros(()))], lr=1.0)
    warmup = round(settings.warmup_share * steps)
    return get_scheduler(settings.lr_scheduler_type, nobody, warmup, steps).lr_lambdas[0]  # type: ignore[attr-defined]


def _moves(parameters: Mapping[str, nn.Parameter], settings: Settings, learners: int) -> Mapping[str, Tensor]:
    """Which entries the settings let move; each learner of several has its own lot, as if it were alone."""
    mask = partial(registry.find("masks", settings.mask), **settings.mask_args)
    if learners == 1:
        return mask(parameters) or {}
    each = [mask({name: p[g] for name, p in parameters.items()}) for g in range(learners)]
    return {name: torch.stack([own[name] for own in each]) for name in each[0] or ()}


def _hand_over(part: Part, views: Sequence[Seen], step: int) -> None:
    """Give the optimizer the gradients of those whose lesson is not over; the others stay as they are, moments and all."""
    for seen in views:
        if step >= part.steps:
            seen.leaf.grad = None
        else:
            seen.take_grad()


@torch.no_grad()
def _clip(grads: Sequence[Tensor], learners: int, most: float) -> Tensor:
    """Each learner's gradient cut to the norm `most`; a gradient that is not finite becomes zero. The norms [G]."""
    dims = [tuple(range(int(learners > 1), grad.ndim)) for grad in grads]
    norms = [torch.linalg.vector_norm(g, 2, dim, dtype=torch.float32) for g, dim in zip(grads, dims, strict=True)]
    norm_G = torch.stack(norms).norm(dim=0).reshape(learners)
    factor_G, finite_G = (most / (norm_G + 1e-6)).clamp(max=1), norm_G.isfinite()
    if bool((factor_G == 1).all()):  # most steps of most trainings: the gradients need not be touched
        return norm_G
    all_finite = bool(finite_G.all())
    for grad, dim in zip(grads, dims, strict=True):
        factor = factor_G.to(grad.dtype).view(-1, *[1] * len(dim)) if learners > 1 else factor_G.to(grad.dtype)
        grad.mul_(factor)
        if not all_finite:
            grad.copy_(torch.where(finite_G.view_as(factor), grad, 0))
    return norm_G
