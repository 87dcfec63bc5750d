"""What a search varies, and the arm at one point of that space.

    merge:ties{density=.1:.9}        a number between two ends, both included; whole ones where the argument is an int
    arrow{temperature=.1:10:log}     the same on a logarithmic scale
    merge:svd{rank=8|16}             one of several values

Of a merge the weight of every expert in every group of layers varies as well. RANGES are varied unasked, in whatever method has
an argument of that name, so a new method of a drawer is searched without a change here.

Yadav et al. 2023 (TIES, `density`), Yu et al. 2024 (DARE, `drop`); the bound of weights is LoraHub's, arXiv:2307.13269.
Shapes: G groups of layers, E experts.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from yosegi.engine.arm import Arm
from yosegi.engine.spec import NUMBER
from yosegi.errors import Invalid
from yosegi.spec import Quoted, arguments, guess, write_method

Varied = FloatDistribution | IntDistribution | CategoricalDistribution
RANGE = re.compile(rf"({NUMBER.pattern}):({NUMBER.pattern})(:log)?")
RANGES = {
    "density": FloatDistribution(0.1, 1.0),
    "drop": FloatDistribution(0.0, 0.9),
    "temperature": FloatDistribution(0.1, 10.0, log=True),
}
"""Arguments that are varied unless they are given; so is `top_k`, from 1 to E."""
START = {"density": 1.0, "drop": 0.0}
"""Arguments at which a merge leaves nothing out: the baselines have them. Of others they have the method's default."""


def read_varied(value: Any, convert: Callable[[Any], Any] = guess) -> Varied | None:
    """Returns the range or the choice that an argument of a spec stands for; None for a plain value.

    Args:
        value: the argument as it is written.
        convert: makes a value of the type that the argument has.
    """
    if not isinstance(value, str) or isinstance(value, Quoted):
        return None
    if "|" in value:
        values = tuple(convert(part.strip()) for part in value.split("|"))
        if not all(one is None or isinstance(one, int | float | str) for one in values):
            raise Invalid(f"The choice {value}: only numbers and words can be chosen among.")
        return CategoricalDistribution(values)
    if not (match := RANGE.fullmatch(value)):
        return None
    low, high, log = convert(match[1]), convert(match[4]), match[7] is not None
    if not isinstance(low, int | float) or not isinstance(high, int | float):
        return None
    if not low < high or (log and low <= 0):
        raise Invalid(f"The range {value}: the low end must be below the high one{', and above 0' if log else ''}.")
    whole = isinstance(low, int) and isinstance(high, int)
    return IntDistribution(int(low), int(high), log=log) if whole else FloatDistribution(low, high, log=log)


def method(arm: Arm) -> str:
    """Returns the name of the merge or the router of an arm."""
    return arm.merge or arm.router


def given_of(arm: Arm) -> Mapping[str, Any]:
    """Returns the arguments of its merge or router."""
    return arm.merge_args if arm.merge else arm.router_args


def with_ranges(arm: Arm) -> Arm:
    """Returns the arm with `RANGES` for those of its arguments that are not given."""
    ranges: dict[str, Varied] = {**RANGES}
    if len(arm.experts) > 1:
        ranges["top_k"] = IntDistribution(1, len(arm.experts))
    kind, key = ("merges", "merge_args") if arm.merge else ("routers", "router_args")
    added = {name: ranges[name] for name in arguments(kind, method(arm)) if name in ranges}
    return replace(arm, **{key: {**added, **given_of(arm)}})


class Baseline(NamedTuple):
    """What every search is compared with: the parameters of its trial, and the arm. A router's have no parameters."""

    params: dict[str, Any]
    arm: Arm


@dataclass(frozen=True)
class Space:
    """All arms of a search.

    Args:
        arms: one router, or merges of the same experts to choose among; their arguments hold what is varied.
        groups: the group of each layer (layers.py).
        labels: what the groups are called; none for a router.
        low: the least weight.
        high: the greatest.
    """

    arms: tuple[Arm, ...]
    groups: Mapping[str, int] = field(default_factory=dict)
    labels: tuple[str, ...] = ("all layers",)
    low: float = 0.0
    high: float = 1.5

    @property
    def routed(self) -> bool:
        """Whether the arguments of a router are searched, and no weights."""
        return self.arms[0].merge is None

    @property
    def experts(self) -> list[str]:
        """The names of the experts, in the order of the weights."""
        return [expert.name for expert in self.arms[0].experts]

    @property
    def names_GE(self) -> list[list[str]]:
        """What the study calls each weight."""
        several = len(self.labels) > 1
        return [[f"w {e}" + f" · {label}" * several for e in self.experts] for label in self.labels]

    def varied(self, arm: Arm) -> dict[str, Varied]:
        """Returns what varies of one arm, by the name of the study's parameter: the weights, then the arguments."""
        weights = {name: FloatDistribution(self.low, self.high) for names_E in self.names_GE for name in names_E}
        return weights | {self._named(arm, key): v for key, v in given_of(arm).items() if isinstance(v, Varied)}

    def ask(self, trial: Any) -> dict[str, Any]:
        """Returns the parameters that an Optuna trial takes."""
        params: dict[str, Any] = {}
        if len(self.arms) > 1:
            params["method"] = trial.suggest_categorical("method", [method(arm) for arm in self.arms])
        return params | {name: _suggest(trial, name, v) for name, v in self.varied(self._of(params)).items()}

    def weights(self, params: Mapping[str, Any]) -> list[list[float]]:
        """Returns the weights [G, E] of a trial's parameters."""
        return [[params[name] for name in names_E] for names_E in self.names_GE]

    def size(self, params: Mapping[str, Any]) -> float:
        """Returns mean |w|, which the penalty counts; 0 for a router."""
        sizes = [abs(w) for w_E in self.weights(params) for w in w_E]
        return sum(sizes) / len(sizes) if sizes else 0.0

    def arm(self, params: Mapping[str, Any], name: str = "") -> Arm:
        """Returns the arm of a trial's parameters. Experts of weight 0 are left out: without any it is the base alone."""
        arm = self._of(params)
        given = {k: params[self._named(arm, k)] if isinstance(v, Varied) else v for k, v in given_of(arm).items()}
        if self.routed:
            return replace(arm, name=name, router_args=given)
        weights_GE = self.weights(params)
        used = [e for e in range(len(self.experts)) if any(w_E[e] for w_E in weights_GE)]
        if not used:
            return Arm(name)
        rows = [[w_E[e] for e in used] for w_E in weights_GE]
        weights = rows[0] if len(rows) == 1 else {layer: rows[g] for layer, g in self.groups.items()}
        return replace(arm, name=name, experts=[arm.experts[e] for e in used], merge_args={**given, "weights": weights})

    def baselines(self) -> dict[str, Baseline]:
        """Returns, by name, the base, the uniform blend, each expert alone, and a router with its arguments as they are."""
        E, first = len(self.experts), self.arms[0]
        blends = [("base", first, [0.0] * E)]
        if E > 1:
            blends += [("uniform" + f" {method(arm)}" * (arm is not first), arm, [1 / E] * E) for arm in self.arms]
        blends += [(f"{name} alone", first, [float(e == n) for n in range(E)]) for e, name in enumerate(self.experts)]
        baselines = {label: self._blend(label, arm, w_E) for label, arm, w_E in blends}
        if self.routed:
            fixed = {key: v for key, v in first.router_args.items() if not isinstance(v, Varied)}
            label = f"{write_method(first.router, fixed)} as it is"
            baselines[label] = Baseline({}, replace(first, name=label, router_args=fixed))
        return baselines

    def _blend(self, label: str, arm: Arm, w_E: Sequence[float]) -> Baseline:
        """The experts with these weights: by a merge that leaves nothing out, or mixed as those of a router are."""
        if self.routed:
            used = {expert.name: w for expert, w in zip(arm.experts, w_E, strict=True) if w}
            experts = [expert for expert in arm.experts if expert.name in used]
            blend = Arm.weighted(label, experts, list(used.values()), mix=arm.mix) if used else Arm(label)
            return Baseline({}, blend)
        known = arguments("merges", method(arm))
        params: dict[str, Any] = {"method": method(arm)} if len(self.arms) > 1 else {}
        params |= {name: w for names_E in self.names_GE for name, w in zip(names_E, w_E, strict=True)}
        for key, v in given_of(arm).items():
            if isinstance(v, Varied):
                params[self._named(arm, key)] = _nearest(START.get(key, known[key].default), v)
        return Baseline(params, self.arm(params, label))

    def _of(self, params: Mapping[str, Any]) -> Arm:
        return next(arm for arm in self.arms if len(self.arms) == 1 or method(arm) == params["method"])

    def _named(self, arm: Arm, argument: str) -> str:
        return argument if len(self.arms) == 1 else f"{method(arm)}.{argument}"


def _suggest(trial: Any, name: str, varied: Varied) -> Any:
    if isinstance(varied, CategoricalDistribution):
        return trial.suggest_categorical(name, varied.choices)
    suggest = trial.suggest_int if isinstance(varied, IntDistribution) else trial.suggest_float
    return suggest(name, varied.low, varied.high, log=varied.log)


def _nearest(value: Any, varied: Varied) -> Any:
    """What is nearest to a value among those that vary: the first of a choice, the highest number where it is none."""
    if isinstance(varied, CategoricalDistribution):
        return value if value in varied.choices else varied.choices[0]
    number = value if isinstance(value, int | float) else varied.high
    return type(varied.high)(min(max(number, varied.low), varied.high))
