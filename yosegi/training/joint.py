"""Experts and their router, trained together on the tasks of all, or the router alone beside finished experts.

Poly, MHR, LoRAMoE, CAT, and every bank whose router learns with its experts or from the answers' loss.
"""

import dataclasses
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from yosegi.bases import Base
from yosegi.core.expert import Expert
from yosegi.core.model import Banks
from yosegi.core.router import Router
from yosegi.engine.arm import Arm
from yosegi.engine.rows import data_hash
from yosegi.errors import Invalid, UnknownName
from yosegi.run import Run
from yosegi.tasks import Example
from yosegi.training.balancing import Balancing
from yosegi.training.card import card
from yosegi.training.data import LearnerData, steps_of, total
from yosegi.training.fleet import fresh_expert
from yosegi.training.loop import Job, attached, train_loop
from yosegi.training.settings import Settings
from yosegi.training.update import Part

GRANULARITIES = ("module", "layer", "block", "global")


def fresh_bank(base: Base, name: str, size: int, tasks: Sequence[str], settings: Settings) -> list[Expert]:
    """Experts NAME-0, NAME-1, … for `joint`, each with a start of its own: from one start they would never part."""
    if settings.init not in ("kaiming", "gaussian", "normal"):
        raise Invalid(f"{name} needs experts that begin apart; {settings.init} gives all of them one start.")
    return [fresh_expert(base, settings, f"{name}-{e}", e, tasks) for e in range(size)]


def joint(
    base: Base,
    experts: Sequence[Expert],
    router: Router,
    data: Mapping[str, Sequence[Example]],
    run: Run,
    settings: Settings | None = None,
    *,
    name: str,
    mix: str = "factors",
    heads: int = 1,
    router_learning_rate: float | None = None,
    state: Mapping[str, Tensor] | None = None,
    router_only: bool = False,
    granularity: str = "module",
    fresh: bool = True,
    resume: bool = True,
    tokens_per_pass: int | None = None,
    balancing: Balancing | None = None,
    types: Sequence[int] | None = None,
    order: Callable[[int], Sequence[int]] | None = None,
) -> Arm:
    """Returns the trained experts, with their cards, under the router they were trained with; the base is as it was.

    Args:
        base: what they stand beside.
        experts: their start; with `router_only` they stay as they are.
        router: one that learns.
        data: the examples of each task; the loss is the mean over all target tokens of a step, whosever they are.
        run: gets the metrics under `name`, and the checkpoint while the training lasts.
        settings: how.
        name: of the bank.
        mix: outputs or factors.
        heads: slices routed on their own.
        router_learning_rate: the router's own; by default the experts'.
        state: where the router begins.
        router_only: nothing but the router is trained: how Poly and MHR take up a new task, and CAT.
        granularity: which layers share what their routers learn. module: none; layer: the linears of one block; block: those of
            one kind, attention or MLP, in all blocks; global: all.
        fresh: the experts are a start (`fresh_bank`), and no delta yet; False goes on with trained ones.
        resume: go on from a checkpoint of the same training, if there is one.
        tokens_per_pass: see `fleet`.
        balancing: the objective of LoRAMoE, in place of that of the settings.
        types: for it, of each example, task by task.
        order: places -> which example stands at each (training/curriculum.py); by default shuffled epochs.

    Raises:
        Diverged: the loss or the gradient stopped being finite.
    """
    settings, fresh = settings or Settings(), fresh and not router_only
    if granularity not in GRANULARITIES:
        raise UnknownName.among("granularity", granularity, GRANULARITIES)
    if fresh and (trained_before := [e.name for e in experts if e.card.get("data_hash")]):
        raise Invalid(
            f"Expert {trained_before[0]!r} is trained already, and a fresh start would take that away (fresh=False)."
        )
    job = Job(base, run, settings, resume, tokens_per_pass)
    job.share()
    groups = job.read(data)
    rows = [row for group in groups.values() for row in group.rows]
    task_of = [task for task, group in groups.items() for _ in group.rows]
    if types is not None and len(types) != len(rows):
        raise Invalid(f"{len(types)} types were given for {len(rows)} rows.")
    steps, batch = steps_of(len(rows), settings, job.sharing)
    places = None if order is None else list(order(steps * batch))
    rate, digest = router_learning_rate or settings.learning_rate, hashlib.sha256()
    how: dict[str, Any] = {
        "router": type(router).__module__.rpartition(".")[2], "router_args": router.config(), "mix": mix, "heads": heads,
        "router_learning_rate": rate, "router_only": router_only, "granularity": granularity,
    }  # fmt: skip
    if balancing is not None:
        how["balance"] = {**vars(balancing.constraint), "types": list(balancing.types)}
    digest.update(repr([[e.name, e.card.get("sha256"), e.card.get("data_hash")] for e in experts]).encode())
    for key, value in sorted((state or {}).items()):
        digest.update(key.encode() + value.detach().cpu().float().contiguous().numpy().tobytes())
    hashed = hashlib.sha256(repr([data_hash(rows), task_of]).encode()).hexdigest()[:12]
    read = hashlib.sha256(repr([types, places]).encode()).hexdigest()[:12]
    identity = {
        "name": name,
        "base_hash": base.hash,
        "data_hash": hashed,
        "fresh": fresh,
        "begun": digest.hexdigest()[:12],
    }
    identity |= {"read": read, **how, **settings.model_dump()}
    torch.manual_seed(settings.seed)  # a table begins at random numbers
    with attached(base, experts, router, mix, heads=heads, dropout=settings.dropout, origin=fresh) as banks:
        share(banks, granularity)
        factors = {id(p) for bank in banks.values() for p in bank.parameters()}
        parameters = banks.parameters()
        parts = [Part({n: p for n, p in parameters.items() if id(p) not in factors}, rate, steps)]
        if not router_only:
            own = {n: p for n, p in parameters.items() if id(p) in factors}
            parts.append(Part(own, settings.learning_rate, steps))
        if state:
            banks.load_router_state(state)
        for bank in banks.values() if router_only else ():
            bank.requires_grad_(False)
        asks = task_of if router.needs == "tasks" else [None] * len(rows)
        learner = LearnerData(name, rows, asks, steps, batch, places, types)
        folder = job.folder(name)
        outcome = train_loop(
            job, banks, [learner], parts, folder, identity, f"train {name}", needs="tasks", balancing=balancing
        )
        trained = {key: value.detach().cpu().clone() for key, value in banks.router_state().items()}
        found = list(experts) if router_only else banks.experts()
    job.finish(folder)
    if not router_only:
        measured = {
            "steps": steps, **total(groups.values()), "tokens": outcome.tokens, **outcome.costs[name],
            "wall_s": round(outcome.wall_s, 2),
        }  # fmt: skip
        written = partial(card, base, settings, list(data), hashed, measured, training={**how, "bank": name})
        found = [
            dataclasses.replace(expert, card=written(init_seed=settings.init_seed + e))
            for e, expert in enumerate(found)
        ]
    return Arm(
        name, found, how["router"], how["router_args"], trained, mix, heads,
        tasks=tuple(data), data_hash=hashed, training=how,
    )  # fmt: skip


def share(banks: Banks, granularity: str) -> None:
    """Give the routers of a group of layers one and the same parameters, those of its first layer."""
    first: dict[str, Router] = {}
    for layer, module in banks.layers.items():
        one = first.setdefault(group(layer, granularity), module.router)
        for name, parameter in one.named_parameters():
            setattr(module.router, name, parameter)


def group(layer: str, granularity: str) -> str:
    """With whom a layer shares its weights: model.layers.3.mlp.up_proj is of the layer model.layers.3 and of the block mlp."""
    if granularity == "layer":
        found = re.match(r"(.*?\.\d+)\.", layer)
        return found[1] if found else layer
    if granularity == "block":
        return next((part for part in reversed(layer.split(".")[:-1]) if not part.isdigit()), layer)
    return layer if granularity == "module" else ""
