"""Experts and their router, trained together on the tasks of all, or the router alone beside finished experts.

Poly, MHR and LoRAMoE train both. CAT trains the routing weights alone, from a small mix of what the experts learnt from:

    y = W x + Σ_e α_e s_e B_e A_e x        (routers/static.py), by the loss of the answers

Prabhakar et al. 2024, "LoRA Soups: Merging LoRAs for Practical Skill Composition Tasks", arXiv:2410.13025. Their schedule cannot
move α from its random start: the learning rates of all steps add up to 0.08. The arm's training says how far α has `moved`.
"""

import copy
import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, Unpack, cast

import torch
from torch import Tensor

from yosegi.bases import Base, short_hash
from yosegi.core.expert import Expert
from yosegi.core.model import Banks
from yosegi.core.router import Router
from yosegi.engine.arm import Arm
from yosegi.engine.rows import data_hash
from yosegi.errors import Invalid, UnknownName
from yosegi.run import Run
from yosegi.tasks import Example
from yosegi.training.balancing import Balancing
from yosegi.training.data import LearnerData, digest, digest_of, steps_of, total
from yosegi.training.fleet import fresh_expert
from yosegi.training.job import Job, Options, attached
from yosegi.training.loop import train_loop
from yosegi.training.settings import Settings
from yosegi.training.update import Part

GRANULARITIES = ("module", "layer", "block", "global")


def fresh_bank(base: Base, name: str, size: int, tasks: Sequence[str], settings: Settings) -> list[Expert]:
    """Returns the experts NAME-0, NAME-1, …, each with a start of its own: from one start they would never part."""
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
    balancing: Balancing | None = None,
    types: Sequence[int] | None = None,
    order: Callable[[int], Sequence[int]] | None = None,
    **options: Unpack[Options],
) -> Arm:
    """Returns the trained experts, with their cards, under the router they were trained with.

    Args:
        base: the model that they are trained beside; it stays as it was.
        experts: their start (`fresh_bank`), or trained experts that go on learning; with `router_only` they stay as they are.
        router: one that learns.
        data: the examples of each task; the loss is the mean over all target tokens of a step, whosever they are.
        run: gets the metrics under `name`, and the checkpoint while the training lasts.
        settings: of the training; a router that learns alone reads its experts without dropout.
        name: of the bank.
        mix: outputs or factors.
        heads: slices routed on their own.
        router_learning_rate: the router's own; by default the experts'.
        state: where the router begins.
        router_only: nothing but the router is trained: CAT, and how Poly and MHR take up a new task.
        granularity: which layers share what their routers learn. module: none; layer: the linears of one block; block: those of
            one kind, attention or MLP, in all blocks; global: all.
        balancing: the objective of LoRAMoE, in place of that of the settings.
        types: for it, of each example, task by task.
        order: places -> which example stands at each (training/curriculum.py); by default shuffled epochs.
        options: see `Options`.

    Raises:
        Diverged: the loss or the gradient stopped being finite.
    """
    settings = settings or Settings()
    trained_before = [expert.name for expert in experts if expert.card.get("data_hash")]
    if trained_before and len(trained_before) < len(experts):
        raise Invalid(f"Expert {trained_before[0]!r} is trained already, and others of this bank are not.")
    job = Job(base, run, settings, **options)
    job.share(name)
    groups = job.read(data)
    rows = [row for group in groups.values() for row in group.rows]
    task_of = [task for task, group in groups.items() for _ in group.rows]
    if types is not None and len(types) != len(rows):
        raise Invalid(f"{len(types)} types were given for {len(rows)} rows.")
    steps, batch = steps_of(len(rows), settings, job.sharing)
    places = None if order is None else list(order(steps * batch))
    asks = task_of if router.needs == "tasks" else [None] * len(rows)
    learner, hashed = LearnerData(name, rows, asks, steps, batch, places, types), digest(data_hash(rows), task_of)
    rate, fresh = router_learning_rate or settings.learning_rate, not router_only and not trained_before
    training: dict[str, Any] = {
        "router": type(router).__module__.rpartition(".")[2], "router_args": router.config(), "mix": mix, "heads": heads,
        "router_learning_rate": rate, "router_only": router_only, "granularity": granularity,
        "template": short_hash(base.chat_template),
    }  # fmt: skip
    if balancing is not None:
        training["balance"] = {**vars(balancing.constraint), "types": list(balancing.types)}
    torch.manual_seed(settings.seed)  # a table begins at random numbers
    dropout = 0.0 if router_only else settings.dropout
    with attached(base, experts, router, mix, heads=heads, dropout=dropout, origin=fresh) as banks:
        share(banks, router, granularity)
        if state:
            banks.load_router_state(state)
            _check_shared(banks, state)
        start = state_of(banks)
        begun = digest(digest_of(experts), *(part for pair in sorted(start.items()) for part in pair))
        factors = {id(p) for bank in banks.values() for p in bank.parameters()}
        of_router = {n: p for n, p in banks.parameters().items() if id(p) not in factors}
        of_experts = {n: p for n, p in banks.parameters().items() if id(p) in factors}
        parts = [Part(of_router, rate, steps), Part(of_experts, settings.learning_rate, steps)][
            : 1 if router_only else 2
        ]
        for bank in banks.values() if router_only else ():
            bank.requires_grad_(False)
        outcome = train_loop(
            job, banks, [learner], parts, f"train {name}", needs="tasks", objective=balancing, begun=begun, **training
        )
        learnt = state_of(banks)
        results = list(experts) if router_only else banks.experts()
    if router_only:
        training["moved"] = round(_moved(start, learnt), 6)
    else:
        metrics = {"steps": steps, **total(groups.values()), "tokens": outcome.tokens}
        more = {"training": {**settings.model_dump(), **training, "bank": name}, "parents": []}
        cards = [
            job.card(outcome, name, list(data), hashed, metrics, **more, init_seed=settings.init_seed + e)
            for e in range(len(results))
        ]
        results = [dataclasses.replace(expert, card=fields) for expert, fields in zip(results, cards, strict=True)]
    job.finish()
    return Arm(
        name, results, training["router"], training["router_args"], learnt, mix, heads,
        tasks=tuple(data), data_hash=hashed, training=training,
    )  # fmt: skip


def begin(
    base: Base, experts: Sequence[Expert], router: Router, mix: str = "outputs", granularity: str = "module"
) -> dict[str, Tensor]:
    """Returns the state in which the router begins: the control that has not been trained."""
    with attached(base, experts, router, mix) as banks:
        share(banks, router, granularity)
        return state_of(banks)


def share(banks: Banks, router: Router, granularity: str) -> None:
    """Gives the routers of each group of layers one and the same parameters.

    They begin as those of a layer that has all experts which some layer of the group has: with even weights, 1/k for k of them.
    """
    UnknownName.check("granularity", [granularity], GRANULARITIES)
    groups: dict[str, list[str]] = {}
    for layer, module in banks.layers.items():
        if not module.router.follows:
            groups.setdefault(group(layer, granularity), []).append(layer)
    for first, *others in groups.values():
        present_E = torch.stack([banks[layer].present_E for layer in (first, *others)]).any(0)
        shared = banks.layers[first].router
        if not torch.equal(present_E, banks[first].present_E):
            known = {key: getattr(banks[first], key) for key in ("names", "tasks_E", "tasks", "A_ERI", "B_EOR")}
            shared = copy.deepcopy(router)
            shared.place(first, list(banks))
            shared.bind(cast(Any, SimpleNamespace(**known, present_E=present_E)))
        for name, parameter in shared.named_parameters():
            for layer in (first, *others):
                if getattr(banks.layers[layer].router, name).shape != parameter.shape:
                    raise Invalid(f"{first} and {layer} cannot share the {name} of their routers: its shapes differ.")
                setattr(banks.layers[layer].router, name, parameter)


def group(layer: str, granularity: str) -> str:
    """Returns the group of a layer: model.layers.3.mlp.up_proj is of the layer model.layers.3 and of the block mlp."""
    if granularity == "layer":
        match = re.match(r"(.*?\.\d+)\.", layer)
        return match[1] if match else layer
    if granularity == "block":
        return next((part for part in reversed(layer.split(".")[:-1]) if not part.isdigit()), layer)
    return layer if granularity == "module" else ""


def state_of(banks: Banks) -> dict[str, Tensor]:
    """Returns what the routers have learnt, on the CPU."""
    return {key: value.detach().cpu().clone() for key, value in banks.router_state().items()}


def _check_shared(banks: Banks, state: Mapping[str, Tensor]) -> None:
    """Refuses a state that begins layers which share a parameter at different numbers: the last would win."""
    for layer, module in banks.layers.items():
        for name, value in module.router.state_dict().items():
            given = state.get(f"{layer}|{name}", state.get(f"|{name}", value))
            if not torch.equal(given.to(value), value):
                raise Invalid(
                    f"{layer} shares its {name} with other layers, and the state begins them at different numbers."
                )


def _moved(start: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> float:
    """Returns how far a weight went: the root mean square over all that was learnt."""
    squares = [(state[key].float() - start[key].float()).square() for key in start]
    return (sum(float(square.sum()) for square in squares) / sum(square.numel() for square in squares)) ** 0.5
