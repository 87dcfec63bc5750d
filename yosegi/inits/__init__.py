"""Initialisers: (W, rank, scale, generator) -> A, B. The delta is zero at step 0, whatever they return.

Where B ≠ 0 (normal, PiSSA, OLoRA) the starting product is kept as the bank's origin and subtracted (core/bank.py), so that
the base stays pristine and the result is an ordinary expert, of rank 2R.
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
    """A new expert for a model. Each layer's numbers depend on (seed, layer name) alone: experts with one seed share A.

    Args:
        model: the base, without experts.
        name: of the expert.
        rank: inner width.
        alpha: the scale is alpha / rank.
        targets: which linears (core/model.py).
        init: a method of this drawer.
        seed: of the random numbers.
        task: what it will learn.
        given: more of the initialiser's own, such as `power_steps` of pissa.
    """
    if rank < 1:
        raise Invalid(f"rank={rank}: an expert needs a rank of at least 1.")
    if not alpha > 0:
        raise Invalid(f"alpha={alpha}: the scale alpha / rank has to be positive.")
    make = registry.find("inits", init)
    known = arguments("inits", init)
    for argument in given:
        if argument not in known:
            raise UnknownName.among(f"argument of {init}", argument, known)
    modules = dict(model.named_modules())
    factors: Mapping[str, Factors] = {}
    for layer in linears(model, targets):
        W_OI = weight(modules[layer])
        if rank > min(W_OI.shape):
            raise Invalid(f"rank={rank} is more than layer {layer} of {W_OI.shape[0]} x {W_OI.shape[1]} can have.")
        generator = torch.Generator().manual_seed(_seed(seed, layer))
        A_RI, B_OR = make(W_OI.cpu(), rank, alpha / rank, generator, **given)
        factors[layer] = Factors(A_RI, B_OR, alpha / rank)
    if not factors:
        raise Invalid(f"targets={targets!r} leaves no linear for expert {name!r} to touch.")
    return Expert(name, factors, {"task": [task] if isinstance(task, str) else list(task)})


def _seed(seed: int, layer: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}:{layer}".encode()).digest()[:7], "big")
