"""Initialisers: (W, rank, scale, generator) -> A, B. The delta is zero at step 0, whatever they return.

Where B ≠ 0 (normal, PiSSA, OLoRA) the bank stores the initial product as its origin and subtracts it (core/bank.py), so that
the base stays pristine and the result is an ordinary expert of rank 2R.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from yosegi import registry
from yosegi.core.expert import Expert, Factors
from yosegi.core.model import linears, weight
from yosegi.errors import Invalid, UnknownName
from yosegi.spec import arguments


def fresh(
    model: nn.Module,
    name: str,
    *,
    rank: int,
    alpha: float,
    targets: str | Sequence[str] = "all-linear",
    init: str = "kaiming",
    seed: int = 0,
    task: str | Sequence[str] = (),
    **given: Any,
) -> Expert:
    """Returns a new expert for a model. The random numbers of a layer depend on (seed, layer name) alone: equal seeds, equal A.

    Args:
        model: the base, without experts.
        name: the name of the expert.
        rank: the rank R.
        alpha: the scale is alpha / rank.
        targets: the linears (core/model.py).
        init: a method of this drawer.
        seed: seed of the random numbers.
        task: the task or tasks that it will learn.
        given: arguments of the initialiser, such as `power_steps` of pissa.
    """
    if rank < 1:
        raise Invalid(f"rank={rank}: the rank must be at least 1.")
    if not alpha > 0:
        raise Invalid(f"alpha={alpha}: the scale alpha / rank must be positive.")
    make = registry.find("inits", init)
    UnknownName.check(f"argument of {init}", given, arguments("inits", init))
    modules = dict(model.named_modules())
    factors: Mapping[str, Factors] = {}
    for layer in linears(model, targets):
        W_OI = weight(modules[layer])
        if rank > min(W_OI.shape):
            raise Invalid(f"rank={rank} is too large for layer {layer}, which is {W_OI.shape[0]} x {W_OI.shape[1]}.")
        generator = torch.Generator().manual_seed(_seed(seed, layer))
        A_RI, B_OR = make(W_OI.cpu(), rank, alpha / rank, generator, **given)
        factors[layer] = Factors(A_RI, B_OR, alpha / rank)
    if not factors:
        raise Invalid(f"targets={targets!r} selects no linear for expert {name!r}.")
    return Expert(name, factors, {"task": [task] if isinstance(task, str) else list(task)})


def _seed(seed: int, layer: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}:{layer}".encode()).digest()[:7], "big")


def start_of(model: nn.Module, expert: Expert) -> Expert:
    """Returns the factors at which an expert began, made again from its card.

    Raises:
        Invalid: the card does not say how it began, or these factors move with what was learnt (PiSSA, OLoRA).
    """
    training = expert.card.get("training") or {}
    init, seed, rank = expert.card.get("init"), expert.card.get("init_seed"), training.get("rank")
    if init is None or seed is None or rank is None:
        raise Invalid(f"The card of expert {expert.name!r} does not say at which numbers it began.")
    alpha = rank * next(iter(expert.factors.values())).scale
    return fresh(
        model, expert.name, rank=rank, alpha=alpha, targets=list(expert.factors), init=init, seed=seed,
        **(training.get("init_args") or {}),
    )  # fmt: skip
