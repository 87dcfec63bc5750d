"""Experts and their router, trained together on the tasks of all: Poly, MHR, and every bank whose router learns with it."""

import dataclasses
import hashlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from yosegi.bases import Base
from yosegi.core.expert import Expert
from yosegi.core.mix import named
from yosegi.core.model import Banks, attach
from yosegi.core.router import Router
from yosegi.engine.rows import data_hash
from yosegi.errors import Diverged, Invalid
from yosegi.inits import fresh as fresh_expert
from yosegi.run import Run
from yosegi.tasks import Example
from yosegi.training.balancing import Balancing
from yosegi.training.card import card
from yosegi.training.descent import Lesson, descend, steps_of
from yosegi.training.reading import read, total, warn
from yosegi.training.settings import Settings
from yosegi.training.update import Part


def fresh_bank(base: Base, name: str, size: int, tasks: Sequence[str], settings: Settings) -> list[Expert]:
    """Experts NAME-0, NAME-1, … for `joint`, each with a start of its own: from one start they would never part."""
    return [
        fresh_expert(
            base.model,
            f"{name}-{e}",
            rank=settings.rank,
            alpha=settings.alpha,
            targets=settings.targets,
            init=settings.init,
            seed=settings.init_seed + e,
            task=tasks,
            **settings.init_args,
        )
        for e in range(size)
    ]


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
    learnt: Mapping[str, Tensor] | None = None,
    router_only: bool = False,
    together: Callable[[str], str] | None = None,
    fresh: bool = True,
    resume: bool = True,
    tokens_per_pass: int | None = None,
    balancing: Balancing | None = None,
    types: Sequence[int] | None = None,
    order: Callable[[int], Sequence[int]] | None = None,
) -> tuple[list[Expert], dict[str, Tensor]]:
    """The trained experts with their cards filled, and what the router learnt (`Banks.router_state`); the base is as it was.

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
        learnt: where the router begins.
        router_only: nothing but the router moves: how Poly and MHR take up a new task.
        together: layer -> the name of its group, in which all layers share what their routers learn.
        fresh: the experts are a start (`fresh_bank`), and no delta yet; False goes on with trained ones.
        resume: go on from a checkpoint of the same training, if there is one.
        tokens_per_pass: see `fleet`.
        balancing: the objective of LoRAMoE, in place of that of the settings.
        types: for it, of each example, task by task.
        order: places -> which example stands at each (training/curriculum.py); by default shuffled epochs.

    Raises:
        Diverged: the loss or the gradient stopped being finite.
    """
    settings = settings or Settings()
    if fresh and not router_only and (trained_before := [e.name for e in experts if e.card.get("data_hash")]):
        raise Invalid(
            f"Expert {trained_before[0]!r} is trained already, and a fresh start would take that away (fresh=False)."
        )
    readings = {task: read(base, some, settings) for task, some in data.items()}
    warn(readings.values(), settings)
    rows = [row for reading in readings.values() for row in reading.rows]
    whose = [task for task, reading in readings.items() for _ in reading.rows]
    if types is not None and len(types) != len(rows):
        raise Invalid(f"{len(types)} types were given for {len(rows)} rows.")
    torch.manual_seed(settings.seed)  # a table begins at random numbers
    banks = attach(base.model, experts, router, named(mix), heads=heads, dropout=settings.dropout)
    if together is not None:
        _share(banks, together)
    factors = {id(p) for bank in banks.values() for p in bank.parameters()}
    parameters = banks.parameters()
    steps, batch = steps_of(len(rows), settings)
    rate = router_learning_rate or settings.learning_rate
    parts = [Part({n: p for n, p in parameters.items() if id(p) not in factors}, rate, steps)]
    if not router_only:
        for bank in banks.values() if fresh else ():
            bank.set_origin()
        parts += [Part({n: p for n, p in parameters.items() if id(p) in factors}, settings.learning_rate, steps)]
    how: dict[str, Any] = {
        "router": type(router).__module__.rpartition(".")[2],
        "router_args": router.config(),
        "mix": mix,
        "heads": heads,
        "router_learning_rate": rate,
        "router_only": router_only,
    }
    if balancing is not None:
        how["balance"] = {**vars(balancing.constraint), "expert_types": list(balancing.constraint.expert_types)}
        how["balance"]["types"] = list(balancing.types)
    places = None if order is None else list(order(steps * batch))
    if together is not None:
        how["together"] = [together(layer) for layer in banks]
    begun = hashlib.sha256(repr([[e.name, e.card.get("sha256"), e.card.get("data_hash")] for e in experts]).encode())
    for key, value in sorted((learnt or {}).items()):
        begun.update(key.encode() + value.detach().cpu().float().contiguous().numpy().tobytes())
    hashed = hashlib.sha256(repr([data_hash(rows), whose]).encode()).hexdigest()[:12]
    what = {"name": name, "base_hash": base.hash, "data_hash": hashed, "fresh": fresh, "begun": begun.hexdigest()[:12]}
    what |= {**how, **settings.model_dump()}
    if types is not None or places is not None:
        what["read"] = hashlib.sha256(repr([types, places]).encode()).hexdigest()[:12]
    folder = run.path / "checkpoint" / name
    try:
        if learnt:
            banks.load_router_state(learnt)
        if router_only:
            for bank in banks.values():
                bank.requires_grad_(False)
        lesson = Lesson(
            name, rows, whose if router.needs == "tasks" else [None] * len(rows), steps, batch, places, types
        )
        outcome = descend(
            base,
            banks,
            [lesson],
            parts,
            run,
            settings,
            needs="tasks",
            what=what,
            folder=folder,
            title=f"train {name}",
            resume=resume,
            tokens_per_pass=tokens_per_pass,
            balancing=balancing,
        )
        trained = {key: value.detach().clone() for key, value in banks.router_state().items()}
        found = banks.experts()
    finally:
        banks.detach()
        base.model.eval()
    if outcome.diverged:
        raise Diverged(
            f"Training {name!r}: the loss or the gradient stopped being finite at step {outcome.diverged[name]}. "
            "Start anew with a lower learning rate."
        )
    shutil.rmtree(folder, ignore_errors=True)
    if router_only:
        return list(experts), trained
    measured = {
        "steps": steps,
        **total(readings.values()),
        "tokens": outcome.tokens,
        "trainable_params": sum(p.numel() for p in parameters.values()),
        "wall_s": round(outcome.wall_s, 2),
    }
    recipe = {**how, "bank": name}
    cards = [
        card(base, settings, list(data), hashed, measured, recipe=recipe, init_seed=settings.init_seed + e)
        for e in range(len(found))
    ]
    return [dataclasses.replace(e, card=said) for e, said in zip(found, cards, strict=True)], trained


def _share(banks: Banks, together: Callable[[str], str]) -> None:
    """Give the routers of a group one and the same parameters, those of its first layer."""
    first: dict[str, Router] = {}
    for layer, module in banks.layers.items():
        one = first.setdefault(together(layer), module.router)
        for name, parameter in one.named_parameters():
            setattr(module.router, name, parameter)
