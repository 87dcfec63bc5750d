"""LoRAMoE: experts in every feed-forward block and the router they learn with, each type of example for itself.

Dou et al. 2024, "LoRAMoE: Alleviate World Knowledge Forgetting in Large Language Models via MoE-Style Plugin", arXiv:2312.09979.

    y = W x + Σ_e ω_e s B_e A_e x,  ω = softmax(R x)      the answers' loss + β · the balancing constraint (objectives/balance.py)

What comes out is a library's bank: the experts, and a router that is kept beside them. Unlike the authors' code, experts share
one dropout of x, and R begins at zero (`router_start`). The other settings are the paper's; it has 6 experts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Unpack

from yosegi import files
from yosegi.bases import Base
from yosegi.engine.arm import Arm
from yosegi.errors import Invalid, UnknownName
from yosegi.objectives.balance import Constraint
from yosegi.partitions import Partition
from yosegi.routers.softmax import Softmax
from yosegi.run import Run
from yosegi.tasks import Example, subset
from yosegi.training.balancing import Balancing
from yosegi.training.curriculum import schedule
from yosegi.training.job import Options
from yosegi.training.joint import fresh_bank, joint
from yosegi.training.settings import LoraMoeSettings, MoeOptions

EXPERTS = 6

Typed = Mapping[str, Mapping[str, Sequence[Example]]]
"""Type -> task -> examples. One task may have examples of several types."""


def loramoe(
    base: Base,
    data: Typed,
    run: Run,
    settings: LoraMoeSettings | None = None,
    *,
    experts: int = EXPERTS,
    name: str = "loramoe",
    in_order: Mapping[str, Sequence[Example]] | None = None,
    **options: Unpack[Options],
) -> Arm:
    """Returns the experts, with their cards, under the router they were trained with. Killed at any step, the same call resumes.

    Args:
        base: the model that the experts are trained beside.
        data: the examples of each task, by type; `settings.limit` is how many of each task and type.
        run: gets the metrics; load, entropy and the weight of each type among them.
        settings: of the training and of the bank.
        experts: number of experts of all types together.
        name: of the bank; the experts are NAME-0, NAME-1, …
        in_order: the examples of each task as they are numbered before they are shuffled; by default type after type. With it,
            banks whose types differ read the same rows in the same order.
        options: see `Options`.

    Raises:
        Diverged: the loss or the gradient stopped being finite.
    """
    settings, types = settings or LoraMoeSettings(), tuple(data)
    expert_types = list(share_out(experts, len(types)) if settings.expert_types is None else settings.expert_types)
    if len(expert_types) != experts or not set(expert_types) <= set(range(len(types))):
        raise Invalid(
            f"expert_types has to give each of {experts} experts a type from 0 to {len(types) - 1}: {expert_types}."
        )
    if settings.beta and len(set(expert_types)) < len(types) > 1:
        raise Invalid(
            f"{len(types)} types share {experts} experts, so that {len(types) - len(set(expert_types))} have none: take more "
            "experts (--build 'loramoe{experts=…}'), or put tasks together (types)."
        )
    if settings.top_k is not None and settings.top_k > experts:
        raise Invalid(f"top_k={settings.top_k}: there are {experts} experts. Leave top_k out for all of them.")
    typed: dict[str, list[tuple[Example, int]]] = {}  # of each task its examples, with their types
    for k, of_type in enumerate(data.values()):
        for task, examples in of_type.items():
            typed.setdefault(task, []).extend((example, k) for example in subset(examples, settings.limit))
    if in_order is not None:
        type_by_id = {(task, example.id): k for task, rows in typed.items() for example, k in rows}
        typed = {
            task: [(row, type_by_id[task, row.id]) for row in rows if (task, row.id) in type_by_id]
            for task, rows in in_order.items()
        }
    typed = {task: rows for task, rows in typed.items() if rows}
    if not typed:
        raise Invalid("There are no examples to learn from.")
    pairs = [(task, k) for task, rows in typed.items() for _, k in rows]
    groups = _groups(settings, types, list(typed), pairs)
    places = partial(
        schedule, groups, seed=settings.seed, weights=settings.shares, temperature=settings.share_temperature,
        curriculum=settings.curriculum, pace=settings.pace,
    )  # fmt: skip
    constraint = Constraint(
        settings.beta, settings.delta, tuple(expert_types) if len(types) > 1 else (), settings.lbc, settings.counted,
        settings.match, settings.reduce,
    )  # fmt: skip
    router = Softmax(settings.top_k, settings.temperature, settings.scope, settings.router_start)
    examples_of = {task: [example for example, _ in rows] for task, rows in typed.items()}
    arm = joint(
        base, fresh_bank(base, name, experts, list(typed), settings), router, examples_of, run,
        settings.model_copy(update={"limit": None}), name=name, mix="outputs",
        router_learning_rate=settings.router_learning_rate, balancing=Balancing(constraint, types),
        types=[k for _, k in pairs], order=places if groups else None, **options,
    )  # fmt: skip
    bank: dict[str, Any] = {key: getattr(settings, key) for key in MoeOptions.model_fields}
    return replace(arm, training={"build": "loramoe", "types": list(types), **bank, "expert_types": expert_types})


def keep_types(path: Path, types: Partition) -> None:
    """Writes down which example is of which type, and why."""
    files.write_json(path, {**types.evidence, "tasks": {name: list(tasks) for name, tasks in types.tasks.items()}})


def share_out(experts: int, types: int) -> list[int]:
    """Returns the type of each expert: as many of each as can be, in order."""
    return [e * types // experts for e in range(experts)]


def _groups(
    settings: LoraMoeSettings, types: Sequence[str], tasks: Sequence[str], pairs: Sequence[tuple[str, int]]
) -> list[str]:
    """Returns what the shares and the curriculum call each row, (task, type); nothing where they say nothing."""
    asked = {*(settings.shares or {}), *settings.curriculum}
    if not asked and settings.share_temperature == 1:
        return []
    if asked <= set(types):
        return [types[k] for _, k in pairs]
    if asked <= set(tasks):
        return [task for task, _ in pairs]
    UnknownName.check("type or task", asked, [*types, *tasks])
    raise Invalid("Shares and curriculum are about types or about tasks, not about both.")
