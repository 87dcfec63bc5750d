"""What a search is to do, in plain words and numbers: every worker opens the same plan for itself."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from torch import Tensor

from yosegi import registry
from yosegi.bases import Base, load
from yosegi.core.expert import Expert
from yosegi.core.mix import named
from yosegi.engine.arm import Arm
from yosegi.engine.kept import arms, load_arm
from yosegi.errors import Invalid, UnknownName
from yosegi.library.origin import check_origin
from yosegi.library.store import Library
from yosegi.merges import merge
from yosegi.search.exam import Exam, read_goal
from yosegi.search.layers import group
from yosegi.search.space import Range, Space, arguments, check_given, read_setting

SAMPLERS = ("tpe", "cmaes", "random")


@dataclass(frozen=True)
class Plan:
    """One search. Resuming asks for the same plan.

    Args:
        library: the folder of the experts.
        tasks: `NAME[:METRIC][=WEIGHT]` each (exam.py).
        base: beside which they stand.
        experts: by name; none means all of the library but those that a search put there.
        methods: merges to choose among; none means cat, the plain sum of deltas.
        router: search the settings of this router instead; one that the library keeps, or a method.
        settings: `NAME=VALUE`, `NAME=LOW:HIGH[:log]` or `NAME=A,B` for arguments of the methods (space.py).
        sampler: tpe, cmaes or random.
        penalty: on mean |w|, so that weights do not grow for nothing.
        cap: the greatest |w|, at least 1.
        negative: whether weights may be below 0.
        groups: runs of neighbouring blocks with weights of their own.
        by_type: whether attention and the rest have weights of their own too.
        mix: outputs or factors, for routers.
        limit: at most so many validation examples a task.
        rounds: in how many parts a trial is asked, for pruning.
        prune: break a trial off that is below the median of those before it.
        pareto: every task is an objective of its own.
        batch_size: sequences at a time.
        seed: of everything random.
    """

    library: str
    tasks: tuple[str, ...]
    base: str = "nano"
    experts: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    router: str | None = None
    settings: tuple[str, ...] = ()
    sampler: str = "tpe"
    penalty: float = 0.05
    cap: float = 1.5
    negative: bool = False
    groups: int = 1
    by_type: bool = False
    mix: str = "outputs"
    limit: int | None = None
    rounds: int = 4
    prune: bool = True
    pareto: bool = False
    batch_size: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        if self.sampler not in SAMPLERS:
            raise UnknownName.among("sampler", self.sampler, SAMPLERS)
        for kind, names in (("merges", self.methods), ("routers", [self.router] if self.router else [])):
            for name in names:
                known = registry.names(kind)
                if ":" not in name and name not in [
                    *known,
                    *(arms(Library(self.library)) if kind == "routers" else []),
                ]:
                    raise UnknownName.among(kind.removesuffix("s"), name, known)
        if self.router and (self.methods or self.groups > 1 or self.by_type or self.negative):
            raise Invalid(
                "A router has no weights to search: --router goes without --method, --groups, --by-type, --negative."
            )
        if self.cap < 1 or not 0 <= self.penalty < float("inf"):
            raise Invalid(f"cap is at least 1 and penalty at least 0; {self.cap} and {self.penalty} were given.")
        if self.sampler == "cmaes" and (self.pareto or len(self.methods) > 1):
            raise Invalid(
                "cmaes moves numbers towards one objective: for --pareto or several methods use --sampler tpe."
            )
        named(self.mix)
        self.given()

    def given(self) -> dict[str, Any]:
        """The settings, by name."""
        return dict(read_setting(text) for text in self.settings)

    def open(self, base: Base | None = None) -> "Opened":
        """Load everything, and check that it can work.

        Args:
            base: when it is loaded already.

        Raises:
            YosegiError: a name that nobody knows, experts of another base, a method that refuses such weights …
        """
        goals = [read_goal(text) for text in self.tasks]
        if self.pareto and len(goals) < 2:
            raise Invalid("--pareto weighs several tasks against each other; give more than one --task.")
        base = base or load(self.base)
        shelf = Library(self.library, base.hash, base.name)
        arm = self._arm(shelf) if self.router else None
        experts = list(arm.experts) if arm else self._load(shelf)
        if not experts:
            raise Invalid(f"{self.library} has no experts to search among.")
        layers = list(dict.fromkeys(layer for expert in experts for layer in expert.factors))
        order = {name: place for place, (name, _) in enumerate(base.model.named_modules())}
        labels, groups = group(sorted(layers, key=lambda layer: order.get(layer, -1)), self.groups, self.by_type)
        space = self._space(arm, [e.name for e in experts], labels)
        if arm is None:
            _accept(experts, space)
        exam = Exam(base, goals, arm, self.limit, self.rounds, self.batch_size)
        learnt = {} if arm is None else arm.router_state
        return Opened(
            self, base, experts, exam, space, groups, learnt, *((arm.mix, arm.heads) if arm else ("outputs", 1))
        )

    def _space(self, arm: Arm | None, names: list[str], labels: tuple[str, ...]) -> Space:
        kind, methods = ("routers", (arm.router,)) if arm else ("merges", self.methods or ("cat",))
        given = self.given()
        check_given(kind, methods, given)
        args = {method: arguments(kind, method, len(names), given) for method in methods}
        if arm:
            args[arm.router] = {**arm.router_args, **args[arm.router]}
            if not any(isinstance(v, Range | tuple) for v in args[arm.router].values()):
                raise Invalid(
                    f"The router {arm.router} has no setting that could be searched; --set NAME=LOW:HIGH names one."
                )
        low = -self.cap if self.negative else 0.0
        return Space(tuple(names), kind, args, () if arm else labels, low, self.cap)

    def _load(self, shelf: Library) -> list[Expert]:
        """What was made of the others is left out unless it is named: what a search kept would change the search."""
        return shelf.load(dict.fromkeys(self.experts) if self.experts else shelf.originals())

    def _arm(self, shelf: Library) -> Arm:
        """The router with its experts, as `yosegi eval` would have it."""
        name = str(self.router)
        if name in arms(shelf):
            return load_arm(shelf, name)
        make = registry.find("routers", name)
        if make.learns or make.needs == "experts":
            how = f"fit it first (yosegi train-router --router {name})" if make.learns else "it is told what to hear"
            raise Invalid(f"The router {name} cannot be searched: {how}.")
        experts = self._load(shelf)
        if self.mix == "factors":
            check_origin(experts, "mixed", "--mix outputs")
        return Arm(name, experts, name, mix=self.mix)


@dataclass(frozen=True)
class Opened:
    """A plan with everything loaded."""

    plan: Plan
    base: Base
    experts: list[Expert]
    exam: Exam
    space: Space
    groups: Mapping[str, int]
    learnt: Mapping[str, Tensor] = field(default_factory=dict)
    mix: str = "outputs"
    heads: int = 1

    @property
    def penalty(self) -> float:
        """On mean |w|; a router has none, and what it is compared with is not to suffer for that."""
        return 0.0 if self.plan.router else self.plan.penalty

    def identity(self) -> dict[str, Any]:
        """What has to be the same for a search to go on: the plan, the base, the experts and the questions themselves."""
        asked = [(e.id, e.prompt, e.target, e.answers) for examples in self.exam.examples for e in examples]
        return (
            asdict(self.plan)
            | {
                "base": self.base.hash,
                "library": "",  # it may have been moved: what counts is what is in it
                "experts": [f"{e.name}@{str(e.card.get('sha256') or '')[:6]}" for e in self.experts],
                "questions": hashlib.sha256(repr(asked).encode()).hexdigest()[:12],
            }
        )


def _accept(experts: list[Expert], space: Space) -> None:
    """Refuse now what a method would refuse in every trial: ranks that differ, negative weights."""
    for method in space.methods:
        example = next(iter(experts[0].factors))
        some = [replace(e, factors={example: e.factors[example]}) for e in experts if example in e.factors]
        w = [space.low if space.low < 0 and n % 2 else 0.5 for n in range(len(some))]
        try:
            merge(some, method, w)
        except Invalid as error:
            raise Invalid(f"{method} cannot be searched here. {error}") from error
