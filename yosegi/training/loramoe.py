"""LoRAMoE: experts in every feed-forward block and the router they learn with, each type of example for itself.

Dou et al. 2024, "LoRAMoE: Alleviate World Knowledge Forgetting in Large Language Models via MoE-Style Plugin", arXiv:2312.09979.

    y = W x + Σ_e ω_e s B_e A_e x,  ω = softmax(R x)      the answers' loss + β · the balancing constraint (objectives/balance.py)

What comes out is a library's bank: the experts, and a router that is kept beside them. Unlike the authors' code, experts share
one dropout of x, and R begins at zero (routers/softmax.py). The settings are the paper's; it has 6 experts.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal

from pydantic import Field

from yosegi import files
from yosegi.bases import Base
from yosegi.engine.arm import Arm
from yosegi.errors import Invalid, UnknownName
from yosegi.objectives.balance import Constraint
from yosegi.partitions import Partition
from yosegi.routers.softmax import Softmax
from yosegi.run import Run
from yosegi.tasks import Example
from yosegi.training.balancing import Balancing
from yosegi.training.curriculum import schedule
from yosegi.training.joint import fresh_bank, joint
from yosegi.training.settings import Settings

FFN = r".*\.(mlp|ffn|feed_forward|DenseReluDense)\.\w+|.*\.(fc1|fc2)"
"""The linears of the feed-forward blocks, as Llama and its kin, GPT-2, NeoX, T5 and OPT call them."""
EXPERTS = 6

Typed = Mapping[str, Mapping[str, Sequence[Example]]]
"""Type -> task -> examples. One task may have examples of several types."""


class LoraMoeSettings(Settings):
    """What `loramoe` can be told beyond; the defaults that differ are those of the paper and of its script."""

    objective: str = Field(default="balance", pattern="^balance$")
    rank: int = Field(default=4, ge=1)
    alpha: float = Field(default=32, gt=0)
    targets: str | list[str] = FFN
    lr_scheduler_type: Literal["linear", "cosine", "constant", "constant_with_warmup"] = "cosine"
    warmup_share: float = Field(default=0.03, ge=0, lt=1)
    router_learning_rate: float | None = Field(default=None, gt=0)
    """The router's own; by default the experts'."""
    scope: Literal["projection", "ffn"] = "projection"
    """A router for each projection, or one for each block."""
    top_k: int | None = Field(default=None, ge=1)
    """Experts heard by a token; by default all."""
    temperature: float = Field(default=1.0, gt=0)
    """Of the router."""
    beta: float = Field(default=0.1, ge=0)
    """Weight of the balancing constraint."""
    delta: float = Field(default=0.1, ge=0, le=1)
    """How far apart it wants the types."""
    expert_types: list[int] | None = None
    """The type of each expert, counted as the data have them; by default the experts are shared out evenly, in order."""
    lbc: Literal["cv2", "dispersion"] = "cv2"
    """σ²/μ² as in the authors' code, or the paper's σ²/μ."""
    counted: Literal["real", "all", "answer"] = "real"
    """Tokens that the constraint counts."""
    match: Literal["paper", "attract"] = "paper"
    """attract: examples come to hear the experts of their own type more, not those of the others."""
    reduce: Literal["sum", "mean"] = "sum"
    """Over the layers."""
    shares: dict[str, float] | None = None
    """How often each type is read, relative to the others, or each task where these are tasks; by default by its size."""
    share_temperature: float = Field(default=1.0, gt=0)
    """Above 1 evens the shares out."""
    curriculum: list[str] = []
    """Types (or tasks) from easy to hard."""
    pace: Literal["growing", "staged"] = "growing"
    """growing: one more joins at a time; staged: one after the other."""


def loramoe(
    base: Base,
    data: Typed,
    run: Run,
    settings: LoraMoeSettings | None = None,
    *,
    experts: int = EXPERTS,
    name: str = "loramoe",
    resume: bool = True,
    tokens_per_pass: int | None = None,
    in_order: Mapping[str, Sequence[Example]] | None = None,
) -> Arm:
    """Returns the experts, with their cards, under the router they were trained with. Killed at any step, the same call resumes.

    Args:
        base: what the experts stand beside.
        data: the examples of each task, by type; `settings.limit` is how many of each task and type.
        run: gets the metrics; load, entropy and the weight of each type among them.
        settings: how.
        experts: how many all types share.
        name: of the bank; the experts are NAME-0, NAME-1, …
        resume: go on from a checkpoint of the same training, if there is one.
        tokens_per_pass: see `fleet`.
        in_order: the examples of each task as they are numbered before they are shuffled; by default type after type. With it,
            banks whose types differ read the same rows in the same order.

    Raises:
        Diverged: the loss or the gradient stopped being finite.
    """
    settings = settings or LoraMoeSettings()
    if settings.init not in ("kaiming", "gaussian", "normal"):
        raise Invalid(f"LoRAMoE needs experts that begin apart; {settings.init} gives all of them one start.")
    types = tuple(data)
    tasks = tuple(dict.fromkeys(task for of_type in data.values() for task, some in of_type.items() if some))
    if not tasks:
        raise Invalid("There are no examples to learn from.")
    expert_types = tuple(share_out(experts, len(types)) if settings.expert_types is None else settings.expert_types)
    if len(expert_types) != experts or not set(expert_types) <= set(range(len(types))):
        raise Invalid(
            f"expert_types has to say of each of {experts} experts a type from 0 to {len(types) - 1}: {list(expert_types)}."
        )
    if settings.beta and len(set(expert_types)) < len(types) > 1:
        raise Invalid(
            f"{len(types)} types share {experts} experts, so that {len(types) - len(set(expert_types))} have none: take more "
            "experts (--experts), or put tasks together (--type)."
        )
    rows: dict[str, list[Example]] = {task: [] for task in tasks}
    where: dict[str, list[int]] = {task: [] for task in tasks}
    for k, of_type in enumerate(data.values()):
        for task, some in of_type.items():
            some = some[: settings.limit]
            rows.setdefault(task, []).extend(some)
            where.setdefault(task, []).extend([k] * len(some))
    if in_order is not None:
        tasks = tuple(task for task in in_order if task in rows)
        for task in tasks:
            type_by_id = {row.id: k for row, k in zip(rows[task], where[task], strict=True)}
            rows[task] = [row for row in in_order[task] if row.id in type_by_id]
            where[task] = [type_by_id[row.id] for row in rows[task]]
    type_of = [k for task in tasks for k in where[task]]
    groups = _groups(settings, types, tasks, type_of, [task for task in tasks for _ in where[task]])
    constraint = Constraint(
        settings.beta, settings.delta, expert_types if len(types) > 1 else (), settings.lbc, settings.counted,
        settings.match, settings.reduce,
    )  # fmt: skip
    args = {"top_k": settings.top_k, "temperature": settings.temperature, "scope": settings.scope}
    trained, state = joint(
        base,
        fresh_bank(base, name, experts, list(tasks), settings),
        Softmax(**args),
        {task: rows[task] for task in tasks},
        run,
        settings.model_copy(update={"limit": None}),
        name=name,
        mix="outputs",
        router_learning_rate=settings.router_learning_rate,
        resume=resume,
        tokens_per_pass=tokens_per_pass,
        balancing=Balancing(constraint, types),
        types=type_of,
        order=partial(
            schedule,
            groups,
            seed=settings.seed,
            weights=settings.shares,
            temperature=settings.share_temperature,
            curriculum=settings.curriculum,
            pace=settings.pace,
        )
        if groups
        else None,
    )
    training: dict[str, Any] = {"build": "loramoe", "types": list(types)}
    training |= {key: getattr(settings, key) for key in type(settings).model_fields if key not in Settings.model_fields}
    training |= {"expert_types": list(expert_types)}
    data_hash = trained[0].card.get("data_hash")
    return Arm(name, trained, "softmax", args, state, tasks=tasks, data_hash=data_hash, training=training)


def keep_types(path: Any, found: Partition) -> None:
    """Write down which example is of which type, and why."""
    files.write_json(path, {**found.evidence, "tasks": {name: list(tasks) for name, tasks in found.tasks.items()}})


def share_out(experts: int, types: int) -> list[int]:
    """The type of each expert: as many of each as can be, in order."""
    return [e * types // experts for e in range(experts)]


def _groups(
    settings: LoraMoeSettings, types: Sequence[str], tasks: Sequence[str], type_of: Sequence[int], whose: Sequence[str]
) -> list[str]:
    """Of each row what the shares and the curriculum call it; nothing where they say nothing."""
    asked = [*(settings.shares or {}), *settings.curriculum]
    if not asked and settings.share_temperature == 1:
        return []
    if not asked or set(asked) <= set(types):
        return [types[k] for k in type_of]
    if set(asked) <= set(tasks):
        return list(whose)
    for name in asked:
        if name not in {*types, *tasks}:
            raise UnknownName.among("type or task", name, [*types, *tasks])
    raise Invalid("Shares and curriculum are about types or about tasks, not about both.")
