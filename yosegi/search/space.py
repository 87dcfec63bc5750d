"""What a search varies, and the arm at one point of that space.

    merge:ties{density=.1:.9}        a number between two ends, both included; whole ones where the argument is an int
    arrow{temperature=.1:10:log}     the same, where 1 to 2 is as far as 10 to 20
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

from yosegi.engine.arm import Arm
from yosegi.engine.spec import NUMBER
from yosegi.errors import Invalid
from yosegi.spec import Quoted, arguments, guess, write_method, write_value

RANGE = re.compile(rf"({NUMBER.pattern}):({NUMBER.pattern})(:log)?")


@dataclass(frozen=True)
class Range:
    """The numbers from `low` to `high`, on a logarithmic scale or only whole ones if asked."""

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def __repr__(self) -> str:
        return f"{self.low}:{self.high}{':log' * self.log}"

    def suggest(self, trial: Any, name: str) -> float:
        """Returns the number that an Optuna trial takes."""
        if self.whole:
            return trial.suggest_int(name, int(self.low), int(self.high), log=self.log)
        return trial.suggest_float(name, self.low, self.high, log=self.log)

    def nearest(self, value: Any) -> float:
        """Returns the number of the range that is nearest to a value, the highest where that is no number."""
        number = min(max(value if isinstance(value, int | float) else self.high, self.low), self.high)
        return int(number) if self.whole else float(number)


@dataclass(frozen=True)
class Choice:
    """One of several numbers or words."""

    values: tuple[Any, ...]

    def __repr__(self) -> str:
        return "|".join(map(write_value, self.values))

    def suggest(self, trial: Any, name: str) -> Any:
        """Returns the value that an Optuna trial takes."""
        return trial.suggest_categorical(name, list(self.values))

    def nearest(self, value: Any) -> Any:
        """Returns this value if it is among them, else the first."""
        return value if value in self.values else self.values[0]


Varied = Range | Choice
RANGES = {"density": Range(0.1, 1.0), "drop": Range(0.0, 0.9), "temperature": Range(0.1, 10.0, log=True)}
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
        return Choice(values)
    if not (match := RANGE.fullmatch(value)):
        return None
    low, high, log = convert(match[1]), convert(match[4]), match[7] is not None
    if not isinstance(low, int | float) or not isinstance(high, int | float):
        return None
    if not low < high or (log and low <= 0):
        raise Invalid(f"The range {value}: the low end must be below the high one{', and above 0' if log else ''}.")
    return Range(low, high, log, whole=isinstance(low, int) and isinstance(high, int))


def method(arm: Arm) -> str:
    """Returns the name of the merge or the router of an arm."""
    return arm.merge or arm.router


def given_of(arm: Arm) -> Mapping[str, Any]:
    """Returns the arguments of its merge or router."""
    return arm.merge_args if arm.merge else arm.router_args


def with_ranges(arm: Arm) -> Arm:
    """Returns the arm with `RANGES` for those of its arguments that are not given."""
    ranges = RANGES | {"top_k": Range(1, len(arm.experts), whole=True)}
    known, given = arguments("merges" if arm.merge else "routers", method(arm)), given_of(arm)
    added = {name: r for name in known if name not in given and (r := ranges.get(name)) and r.low < r.high}
    return replace(arm, **{"merge_args" if arm.merge else "router_args": {**given, **added}})


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

    def varied(self, arm: Arm) -> dict[str, Varied]:
        """Returns what varies of one arm, by the name of the study's parameter: the weights, then the arguments."""
        weights = {name: Range(self.low, self.high) for row in self.weight_names() for name in row}
        args = {self._named(arm, key): v for key, v in given_of(arm).items() if isinstance(v, Varied)}
        return weights | args

    def ask(self, trial: Any) -> dict[str, Any]:
        """Returns the parameters that an Optuna trial takes."""
        params: dict[str, Any] = {}
        if len(self.arms) > 1:
            params["method"] = trial.suggest_categorical("method", [method(arm) for arm in self.arms])
        return params | {name: v.suggest(trial, name) for name, v in self.varied(self._of(params)).items()}

    def weights(self, params: Mapping[str, Any]) -> list[list[float]]:
        """Returns the weights [G, E] of a trial's parameters."""
        return [[params[name] for name in row] for row in self.weight_names()]

    def size(self, params: Mapping[str, Any]) -> float:
        """Returns mean |w|, which the penalty counts; 0 for a router."""
        weights = [abs(w) for w_E in self.weights(params) for w in w_E] if params else []
        return sum(weights) / len(weights) if weights else 0.0

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
        experts = [arm.experts[e] for e in used]
        return replace(arm, name=name, experts=experts, merge_args={**given, "weights": weights})

    def baselines(self) -> dict[str, Baseline]:
        """Returns, by name, the base, the uniform blend, each expert alone, and a router with its arguments as they are."""
        E, first = len(self.experts), self.arms[0]
        blends = [("base", first, [0.0] * E)]
        if E > 1:
            blends += [("uniform" + f" {method(arm)}" * (arm is not first), arm, [1 / E] * E) for arm in self.arms]
        blends += [(f"{name} alone", first, [float(e == n) for n in range(E)]) for e, name in enumerate(self.experts)]
        if not self.routed:
            params = {label: self._start(arm, w_E) for label, arm, w_E in blends}
            return {label: Baseline(one, self.arm(one, label)) for label, one in params.items()}
        found = {label: Baseline({}, self._blend(label, w_E)) for label, _, w_E in blends}
        fixed = {key: v for key, v in first.router_args.items() if not isinstance(v, Varied)}
        label = f"{write_method(first.router, fixed)} as it is"
        return found | {label: Baseline({}, replace(first, name=label, router_args=fixed))}

    def weight_names(self) -> list[list[str]]:
        """Returns what the study calls each weight [G, E]."""
        several = len(self.labels) > 1
        return [[f"w {e}" + f" · {label}" * several for e in self.experts] for label in self.labels]

    def _of(self, params: Mapping[str, Any]) -> Arm:
        return next(arm for arm in self.arms if len(self.arms) == 1 or method(arm) == params["method"])

    def _named(self, arm: Arm, argument: str) -> str:
        return argument if len(self.arms) == 1 else f"{method(arm)}.{argument}"

    def _start(self, arm: Arm, w_E: Sequence[float]) -> dict[str, Any]:
        """The parameters of a blend by these weights that leaves nothing out."""
        known = arguments("merges", method(arm))
        params: dict[str, Any] = {"method": method(arm)} if len(self.arms) > 1 else {}
        params |= {name: w for row in self.weight_names() for name, w in zip(row, w_E, strict=True)}
        for key, v in given_of(arm).items():
            if isinstance(v, Varied):
                params[self._named(arm, key)] = v.nearest(START.get(key, known[key].default))
        return params

    def _blend(self, label: str, w_E: Sequence[float]) -> Arm:
        """Fixed weights for the experts of a router, mixed as the router's are."""
        used = [(expert, w) for expert, w in zip(self.arms[0].experts, w_E, strict=True) if w]
        if not used:
            return Arm(label)
        return Arm.weighted(label, *map(list, zip(*used, strict=True)), mix=self.arms[0].mix)  # pyright: ignore
