"""The settings of a search, and what they are once everything is loaded. Every worker opens the same settings for itself."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic import Field

from yosegi.bases import Base, LoadSettings, load
from yosegi.engine.arm import Arm
from yosegi.engine.spec import KEYS, parse_arm, read_names
from yosegi.errors import Invalid
from yosegi.library.card import check_base
from yosegi.library.store import Library
from yosegi.merges import merge
from yosegi.search.layers import group
from yosegi.search.probe import Probe, read_goal
from yosegi.search.space import Space, Varied, method, read_varied, with_ranges

RUNNING = {"library", "trials", "timeout", "workers", "keep", "overwrite"}
"""Settings that may differ when a search is resumed. The library may have been moved: what counts is what is in it."""


class SearchSettings(LoadSettings):
    """What is searched, by which questions. Unknown names are refused."""

    task: list[str] = Field(default=[], json_schema_extra={"common": True})
    """NAME[:METRIC][=WEIGHT]; the metric is the task's own, or logp (cheap). May be repeated."""
    base: str = Field(default="nano", json_schema_extra={"common": True})
    """The base: nano, smollm2, a folder, a GGUF file or a Hub id."""
    library: str = Field(default="library", json_schema_extra={"common": True})
    """The folder of the experts."""
    arm: list[str] = Field(default=["merge:cat"], json_schema_extra={"common": True})
    """A merge whose weights are searched; several to choose among them. Its arguments may be ranges LOW:HIGH[:log] or choices
    A|B: merge:ties{density=.1:.9,rank=8|16}(a,b). Or a router whose arguments are searched: arrow{top_k=1:4}."""
    experts: list[str] = Field(default=[], json_schema_extra={"common": True})
    """Experts of the arms that name none, as in a,b; by default all that were not made of others here."""
    sampler: Literal["tpe", "cmaes", "random"] = Field(default="tpe", json_schema_extra={"common": True})
    """How the next trial is chosen."""
    trials: int = Field(default=100, ge=0, json_schema_extra={"common": True})
    """Number of trials, beside the baselines."""
    timeout: float | None = Field(default=None, ge=0, json_schema_extra={"common": True})
    """Seconds after which no trial begins."""
    penalty: float = Field(default=0.05, ge=0, allow_inf_nan=False, json_schema_extra={"common": True})
    """Penalty on mean |w|, so that weights do not grow for nothing."""
    cap: float = Field(default=1.5, ge=1, allow_inf_nan=False)
    """The greatest |w|."""
    negative: bool = Field(default=False, json_schema_extra={"common": True})
    """Weights may be below 0."""
    groups: int = Field(default=1, ge=1, json_schema_extra={"common": True})
    """Runs of neighbouring blocks with weights of their own."""
    by_type: bool = Field(default=False, json_schema_extra={"common": True})
    """Attention and the other linears have weights of their own."""
    limit: int | None = Field(default=None, ge=1, json_schema_extra={"common": True})
    """At most so many validation examples of each task."""
    pareto: bool = Field(default=False, json_schema_extra={"common": True})
    """Every task is an objective of its own."""
    prune: bool = True
    """Break a trial off that is below the median of those before it."""
    rounds: int = Field(default=4, ge=1)
    """In how many parts the questions of a trial are asked, for pruning."""
    workers: int = Field(default=1, ge=1, json_schema_extra={"common": True})
    """Processes that share the study."""
    keep: str | None = Field(default=None, json_schema_extra={"common": True})
    """Keep the chosen arm in the library under this name."""
    overwrite: bool = Field(default=False, json_schema_extra={"common": True})
    """Replace a kept arm of that name."""
    batch_size: int = Field(default=64, ge=1)
    """Sequences at a time."""
    seed: int = Field(default=0, json_schema_extra={"common": True})
    """Seed of the sampler."""


@dataclass(frozen=True)
class Search:
    """Settings with everything loaded.

    Args:
        settings: what was asked for.
        base: the base.
        space: what is varied.
        probe: the questions.
    """

    settings: SearchSettings
    base: Base
    space: Space
    probe: Probe

    @property
    def penalty(self) -> float:
        """On mean |w|; none for a router, which has no weights, nor for what it is compared with."""
        return 0.0 if self.space.routed else self.settings.penalty

    def identity(self) -> dict[str, Any]:
        """Returns what has to be the same for a search to be resumed: settings, base, experts, and the questions themselves."""
        asked = [(e.id, e.prompt, e.target, e.answers) for examples in self.probe.examples for e in examples]
        return self.settings.model_dump(mode="json", exclude=RUNNING) | {
            "base": self.base.hash,
            **({"reads": self.base.reads} if self.base.reads else {}),
            "experts": [f"{e.name}@{str(e.card.get('sha256') or '')[:6]}" for e in self.space.arms[0].experts],
            "questions": hashlib.sha256(repr(asked).encode()).hexdigest()[:12],
        }


def open_search(settings: SearchSettings, base: Base | None = None) -> Search:
    """Loads everything, and checks that it can work.

    Args:
        settings: what is searched.
        base: the base, when it is loaded already.

    Raises:
        YosegiError: an unknown name, experts of another base, a merge that refuses such weights …
    """
    if not settings.task:
        raise Invalid("There is nothing to ask: name a --task, as in --task gsm8k:logp.")
    goals = [read_goal(text) for text in settings.task]
    if settings.pareto and len(goals) < 2:
        raise Invalid("--pareto trades several tasks off against each other: name more than one --task.")
    library, pool = Library(settings.library), read_names(settings.experts)
    arms = [replace(parse_arm(text, library, pool, read_varied), name=text) for text in settings.arm]
    _check(settings, arms)
    arms = [with_ranges(arm) for arm in arms]
    first = arms[0]
    if not first.merge and not any(isinstance(v, Varied) for v in first.router_args.values()):
        raise Invalid(f"{first.router} has no argument to search: give one a range, as in arrow{{top_k=1:4}}.")
    base = base or load(settings.base, **settings.loading)
    for expert in first.experts:
        check_base(expert, base.name, base.hash)
    order = {name: place for place, (name, _) in enumerate(base.model.named_modules())}
    layers = dict.fromkeys(layer for expert in first.experts for layer in expert.factors)
    labels, groups = group(sorted(layers, key=lambda name: order.get(name, -1)), settings.groups, settings.by_type)
    low = -settings.cap if settings.negative else 0.0
    if first.merge:
        for arm in arms:
            _try(arm, low)
    space = Space(tuple(arms), groups, labels if first.merge else (), low, settings.cap)
    return Search(settings, base, space, Probe(base, goals, settings.limit, settings.rounds, settings.batch_size))


def _check(settings: SearchSettings, arms: Sequence[Arm]) -> None:
    """Refuses arms that cannot be searched, or not together."""
    methods = [method(arm) for arm in arms]
    for text, arm in zip(settings.arm, arms, strict=True):
        if not arm.experts or arm.weights is not None or "weights" in arm.merge_args:
            raise Invalid(
                f"In {text} there is nothing to search: name a merge or a router, and experts without weights."
            )
        for key in KEYS:
            if isinstance(getattr(arm, key), Varied):
                raise Invalid(f"{text}: {key} cannot be searched, only arguments of the merge or the router.")
        if arm.ablate:
            raise Invalid(f"{text}: a search has no use for ablate.")
        if methods.count(method(arm)) > 1:
            raise Invalid(f"{method(arm)} is there twice; several values of an argument are a choice, as in rank=8|16.")
        if [e.name for e in arm.experts] != [e.name for e in arms[0].experts]:
            raise Invalid("Several arms are searched among the same experts: name them once, by --experts.")
    weighted = len(arms) > 1 or settings.groups > 1 or settings.by_type or settings.negative
    if weighted and not all(arm.merge for arm in arms):
        raise Invalid(
            "A router has no weights to search: it is searched alone, without --groups, --by-type or --negative."
        )
    if settings.sampler == "cmaes" and (settings.pareto or len(arms) > 1):
        raise Invalid("cmaes moves numbers towards one objective: for --pareto or several arms use --sampler tpe.")


def _try(arm: Arm, low: float) -> None:
    """Refuses now what a merge would refuse in every trial: ranks that differ, negative weights."""
    layer = next(iter(arm.experts[0].factors))
    experts = [replace(e, factors={layer: e.factors[layer]}) for e in arm.experts if layer in e.factors]
    weights = [low if low < 0 and n % 2 else 0.5 for n in range(len(experts))]
    fixed = {key: value for key, value in arm.merge_args.items() if not isinstance(value, Varied)}
    try:
        merge(experts, str(arm.merge), weights, measure=False, **fixed)
    except Invalid as error:
        raise Invalid(f"merge:{arm.merge} cannot be searched here. {error}") from error
