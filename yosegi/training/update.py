"""One optimiser for many learners, each as if it were alone: its gradient norm, its schedule, its end, its mask.

Shapes: G learners. With several, the first axis of every parameter counts them.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from yosegi import registry, spec
from yosegi.errors import Invalid, UnknownName
from yosegi.masks import Seen, hold
from yosegi.run import peak_memory
from yosegi.training import checkpoint
from yosegi.training.settings import Settings


@dataclass(frozen=True)
class Part:
    """Parameters that share a schedule.

    Args:
        parameters: by their name in the model.
        lr: the highest learning rate.
        steps: how many; afterwards they stay as they are.
        slice: [first:last] of the first axis of each, learner by learner; None for all of it.
        options: arguments of the optimiser for this group alone, such as {"rank": None}.
    """

    parameters: Mapping[str, nn.Parameter]
    lr: float
    steps: int
    slice: tuple[int, int] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Outcome:
    """What a training has cost so far, and which learners did not get to the end."""

    tokens: int = 0
    wall_s: float = 0.0
    tokens_per_pass: int = 0
    """Most tokens that go through the base at once."""
    checkpointing: bool = False
    """Whether activations are computed again."""
    diverged: dict[str, str] = field(default_factory=dict)
    """Learner -> what stopped being finite, and when. It is given up; the others go on."""
    costs: dict[str, dict[str, int]] = field(default_factory=dict)
    """Learner -> its trainable parameters, and the bytes of their gradients and of the optimiser's memory of them."""

    @classmethod
    def of(cls, progress: Mapping[str, Any]) -> "Outcome":
        """Returns the outcome that a checkpoint holds."""
        known = {one.name for one in fields(cls)}
        return cls(**{key: value for key, value in progress.items() if key in known})

    @property
    def tokens_per_s(self) -> int:
        """Tokens of all learners per second."""
        return round(self.tokens / max(self.wall_s, 1e-9))


class Update:
    """Takes the steps of one optimiser, each learner's as if it were alone.

    Args:
        parts: what is trained; every parameter (or slice of one) once.
        names: of the learners.
        settings: the optimiser, mask, schedule and clipping.
        masks: True where an entry is updated, by parameter; by default as the settings have it.
        add_up: adds a tensor up over the processes that share one learner's rows.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        names: Sequence[str],
        settings: Settings,
        masks: Mapping[str, Tensor] | None = None,
        add_up: Callable[[Tensor], Tensor] | None = None,
    ):
        self.parts, self.names, self.settings, self.add_up, self.outcome = parts, names, settings, add_up, Outcome()
        self.parameters = {name: p for part in parts for name, p in part.parameters.items()}
        moves = _moves(self.parameters, settings, len(names)) if masks is None else masks
        self.moves = {name: mask.to(self.parameters[name].device) for name, mask in moves.items()}
        packed = self.moves if settings.optimizer == "adamw" else {}  # others may need to see a matrix
        foreign = settings.optimizer not in registry.names("optimizers")
        self.seen = [
            [Seen(p, part.slice, packed.get(name), plain=foreign) for name, p in part.parameters.items()]
            for part in parts
        ]
        self.optimizer: Any = make_optimizer(
            [
                {
                    "params": [one.leaf for one in seen],
                    "lr": part.lr,
                    "weight_decay": settings.weight_decay,
                    **part.options,
                }
                for seen, part in zip(self.seen, parts, strict=True)
            ],
            settings,
        )
        self.per_layer = bool(getattr(self.optimizer, "per_layer", False))
        if self.moves and not packed:
            hold(self.optimizer, self.parameters, self.moves)
        self.schedules = [schedule(settings, part.lr, part.steps) for part in parts]

    def accumulating(self, last: bool) -> AbstractContextManager[Any]:
        """Around a backward pass: layers that update themselves wait for the last one of a step."""
        return self.optimizer.accumulate() if self.per_layer and not last else nullcontext()

    def begin(self, step: int) -> None:
        """Sets the learning rates of a step, which layers that update themselves need in the backward pass."""
        for group, part, share in zip(self.optimizer.param_groups, self.parts, self.schedules, strict=True):
            group["lr"] = part.lr * share(step)

    def step(self, step: int, active: Sequence[int], losses_G: Tensor) -> dict[int, dict[str, Any]]:
        """Takes one step with the gradients that the parameters have now; they are gone afterwards.

        Args:
            step: how many were taken before.
            active: the learners whose gradients count.
            losses_G: of this step; a learner whose loss is not finite has diverged.

        Returns of each learner that is well the columns of its row of metrics.
        """
        grads = [p.grad for p in self.parameters.values() if p.grad is not None]
        if self.add_up is not None:
            losses_G = self.add_up(losses_G)
            for grad in grads:
                grad.copy_(self.add_up(grad))
        for name, mask in self.moves.items():
            if (grad := self.parameters[name].grad) is not None:
                grad.mul_(mask)  # clipped over what is updated
        if self.per_layer:  # the gradients were gone before anybody could add them up
            finite = all(bool(p.isfinite().all()) for p in self.parameters.values())
            norms = [0.0 if finite else math.nan]
        else:
            norms = clip(grads, len(self.names), self.settings.max_grad_norm).tolist()
        self.begin(step)
        rates, losses = [self.optimizer.param_groups[-1]["lr"]] * len(self.names), losses_G.tolist()
        for group, part, seen in zip(self.optimizer.param_groups, self.parts, self.seen, strict=True):
            if (
                part.slice is not None
            ):  # else the rate is that of the last group: a bank's experts stand after its router
                rates[slice(*part.slice)] = [group["lr"]] * (part.slice[1] - part.slice[0])
            for one in seen:  # those whose training is over stay as they are, moments and all
                one.take_grad() if step < part.steps else setattr(one.leaf, "grad", None)
        well = [g for g in active if math.isfinite(losses[g]) and math.isfinite(norms[g])]
        for g in set(active) - set(well):  # before the update: no checkpoint holds it, and no other learner feels it
            what = "gradient is not finite" if math.isfinite(losses[g]) else f"loss is {losses[g]}"
            self.outcome.diverged[self.names[g]] = f"the {what} at step {step + 1} (learning rate {rates[g]:.2g})"
        if well:
            self.optimizer.step()
        for one in (one for seen in self.seen for one in seen):
            one.write()
        self.optimizer.zero_grad()
        for parameter in self.parameters.values():
            parameter.grad = None
        columns = getattr(self.optimizer, "columns", dict)()
        norm_of = dict.fromkeys(well) if self.per_layer else norms
        return {g: {"loss": losses[g], "lr": rates[g], "grad_norm": norm_of[g], **columns} for g in well}

    def count(self) -> Outcome:
        """Fills in what each learner costs, and returns the outcome."""
        G = len(self.names)
        trainable = [0] * G
        for name, p in self.parameters.items():
            mask = self.moves.get(name)
            counts = [p.numel() // G] * G if mask is None else mask.reshape(G, -1).sum(1).tolist()
            trainable = [total + int(n) for total, n in zip(trainable, counts, strict=True)]
        sizes = [p.numel() * p.element_size() for p in self.parameters.values()]
        gradients = (max if self.per_layer else sum)(sizes)
        memory = (value for state in self.optimizer.state.values() for value in state.values())
        held = sum(value.numel() * value.element_size() for value in memory if isinstance(value, Tensor))
        every = max(1, sum(trainable))
        self.outcome.costs = {
            name: {"trainable_params": n, "gradient_bytes": gradients // G, "optimizer_bytes": round(held * n / every)}
            for name, n in zip(self.names, trainable, strict=True)
        }
        return self.outcome

    def save(self, folder: Path, step: int, over: bool, identity: Mapping[str, Any]) -> None:
        """Writes a checkpoint, whole or not at all."""
        progress = {"step": step, "over": over, **vars(self.count()), "peak_mem_mb": peak_memory()}
        checkpoint.save(folder, self.parameters, self.optimizer, identity, progress)

    def load(self, folder: Path, identity: Mapping[str, Any]) -> int:
        """Goes on from a checkpoint; returns its step.

        Raises:
            Invalid: it is of another training.
        """
        checkpoint.check(folder, identity)
        checkpoint.load_parameters(folder, self.parameters)
        for one in (one for seen in self.seen for one in seen):
            one.read()
        saved = checkpoint.load_rest(folder, self.optimizer)
        self.outcome = Outcome.of(saved)
        return saved["step"]

    def close(self) -> None:
        """Ends the training: layers do not update themselves any more."""
        if self.per_layer:
            self.optimizer.release()


def make_optimizer(groups: Sequence[Mapping[str, Any]], settings: Settings) -> torch.optim.Optimizer:
    """Returns the optimiser that the settings name: one of our drawer, or of transformers by the name it has there.

    Raises:
        UnknownName: nothing is called that, or an argument of it.
        Invalid: it needs a package that is not installed.
    """
    name, betas = settings.optimizer, (settings.adam_beta1, settings.adam_beta2)
    if name in registry.names("optimizers") or ":" in name:
        known = spec.arguments("optimizers", name)
        arguments = spec.typed(name, settings.optimizer_args, known)
        if betas != (0.9, 0.999) and "betas" in known:  # GaLore hands them to an inner optimiser that may have none
            arguments = {"betas": betas, **arguments}
        return registry.find("optimizers", name)(groups, settings.learning_rate, **arguments)
    from transformers import Trainer, TrainingArguments
    from transformers.training_args import OptimizerNames

    if name not in (theirs := [kind.value for kind in OptimizerNames]):
        raise UnknownName.among("optimizer", name, [*registry.names("optimizers"), *theirs])
    asked = TrainingArguments(
        output_dir="unused", optim=name, learning_rate=settings.learning_rate, adam_beta1=betas[0], adam_beta2=betas[1],
        optim_args=",".join(f"{key}={value}" for key, value in settings.optimizer_args.items()) or None, report_to="none",
    )  # fmt: skip
    try:
        make, arguments = Trainer.get_optimizer_cls_and_kwargs(asked)
    except (ImportError, ValueError) as error:
        raise Invalid(f"The optimizer {name} cannot be had: {' '.join(str(error).split())}") from error
    return make(groups, **arguments)


def schedule(settings: Settings, lr: float, steps: int) -> Callable[[int], float]:
    """Returns step (from 0) -> share of the learning rate, as transformers' schedule of that name has it."""
    from transformers import get_scheduler

    kind, nothing = settings.lr_scheduler_type, torch.optim.SGD([nn.Parameter(torch.zeros(()))], lr=lr)
    warmup = min(math.ceil(settings.warmup_share * steps), steps - 1)  # a training of a single step would learn nothing
    try:
        made: Any = get_scheduler(kind, nothing, warmup, steps, dict(settings.lr_scheduler_kwargs))
    except (TypeError, ValueError) as error:
        raise Invalid(f"lr_scheduler_kwargs of {kind}: {error}") from error
    return made.lr_lambdas[0]


def _moves(parameters: Mapping[str, nn.Parameter], settings: Settings, learners: int) -> Mapping[str, Tensor]:
    """Returns which entries the settings let be updated; the mask of each learner is drawn as if it were alone."""
    mask = partial(registry.find("masks", settings.mask), **settings.mask_args)
    if learners == 1:
        return mask(parameters) or {}
    each = [mask({name: p[g] for name, p in parameters.items()}) for g in range(learners)]
    return {name: torch.stack([of_learner[name] for of_learner in each]) for name in each[0] or ()}


@torch.no_grad()
def clip(grads: Sequence[Tensor], learners: int, most: float) -> Tensor:
    """Scales each learner's gradient down to the norm `most` (0: any), and to zero if it is not finite. Returns the norms [G]."""
    if not grads:  # nobody's answer was better than another
        return torch.zeros(learners)
    stacks = [grad if learners > 1 else grad[None] for grad in grads]
    norms = [torch.linalg.vector_norm(g, 2, tuple(range(1, g.ndim)), dtype=torch.float32) for g in stacks]
    norm_G = torch.stack(norms).norm(dim=0)
    factor_G, finite_G = ((most or math.inf) / (norm_G + 1e-6)).clamp(max=1), norm_G.isfinite()
    if bool((factor_G == 1).all()):  # most steps of most trainings: the gradients need not be touched
        return norm_G
    all_finite = bool(finite_G.all())
    for grad in stacks:
        factor = factor_G.to(grad.dtype).view(-1, *[1] * (grad.ndim - 1))
        grad.mul_(factor)
        if not all_finite:
            grad.copy_(torch.where(finite_G.view_as(factor), grad, 0))
    return norm_G
