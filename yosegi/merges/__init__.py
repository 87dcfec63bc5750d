"""Merges: many experts -> one. `merge` walks the layers, and a method says what becomes of each.

A method is a function of one layer's (A [E, R, I], B [E, O, R], w [E], its own arguments) -> (A [R, I], B [O, R]).
One that has to see all layers first, or has to know whose they are, is a class: its arguments go to the constructor,
`look(layers)` streams over all layers, and then it is called with one Layer after another.
What was cut to a rank comes back as a Cut, with what that lost. A method's module may also say `weights(experts)`, for when
nobody does, and `EXACT = True` where its result, before any cut, is Σ w ΔW itself.

Memory is bounded by one layer, whatever the number of experts. The card of the result says the recipe, the parents, and

    relative_error     ‖merged - Σ w ΔW‖ / ‖Σ w ΔW‖         how far it is from the weighted sum, all layers, Frobenius
    truncation_error   ‖merged - whole‖ / ‖whole‖           what the cut to a rank lost of the method's own whole result;
                                                            only where that whole is not Σ w ΔW
"""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from yosegi import registry
from yosegi.core.expert import Expert, Factors
from yosegi.errors import Invalid, UnknownName, WrongBase
from yosegi.merges._cut import Cut
from yosegi.merges._distance import apart, norm
from yosegi.merges._layers import Layer, Layers
from yosegi.progress import progress
from yosegi.spec import arguments

__all__ = ["merge", "norm"]


@torch.no_grad()
def merge(
    experts: Sequence[Expert],
    method: str = "svd",
    weights: Sequence[float] | Mapping[str, Sequence[float]] | None = None,
    name: str = "merged",
    measure: bool = True,
    **given: Any,
) -> Expert:
    """One expert out of many.

    Args:
        experts: at least one, all of one base. A layer that some lack is merged from those that have it.
        method: a method of this drawer.
        weights: one per expert; by default 1/E each, or what the method's own `weights(experts)` says. Or, by layer, one per
            expert: an expert of weight 0 is then left out of the layer, and a layer that is not named is not merged.
        name: of the result.
        measure: put the errors into the card. Without, as a search over weights wants it, cheap methods are cheaper still.
        given: more of the method's own, such as `rank` of svd.
    """
    if not experts:
        raise Invalid("There is nothing to merge.")
    found = registry.find("merges", method)
    home: Any = inspect.getmodule(found)
    if not isinstance(weights, Mapping):
        weights = list(getattr(home, "weights", _shares)(len(experts)) if weights is None else weights)
    for row in weights.values() if isinstance(weights, Mapping) else [weights]:
        if len(row) != len(experts):
            raise Invalid(f"{len(experts)} experts need {len(experts)} weights; {len(row)} were given.")
        if not all(math.isfinite(weight) for weight in row):
            raise Invalid(f"Weights are finite numbers; {list(row)} were given.")
    if isinstance(weights, Mapping):
        experts, weights = _by_layer(experts, weights)
    bases = {e.card.get("base_hash") for e in experts}
    if len(bases) > 1:
        raise WrongBase(f"These experts stand beside different bases: {', '.join(sorted(map(str, bases)))}.")

    known = arguments("merges", method)
    for argument in given:
        if argument not in known:
            raise UnknownName.among(f"argument of {method}", argument, known)
    factors: dict[str, Factors] = {}
    errors = _Errors(bool(getattr(home, "EXACT", False)))
    with progress(f"{method} merge", 0) as bar:
        layers = Layers(experts, weights, bar)
        blend = _blend(found, given, layers)
        for layer in layers:
            result = blend(layer)
            factors[layer.name] = Factors(result[0].contiguous(), result[1].contiguous())
            if measure:
                errors.add(layer, result)
    return Expert(
        name,
        factors,
        {
            "base": experts[0].card.get("base"),
            "base_hash": experts[0].card.get("base_hash"),
            "task_type": experts[0].card.get("task_type"),
            "task": sorted({task for expert in experts for task in expert.tasks}),
            "parents": [expert.name for expert in experts],
            "training": {"merge": method, "weights": weights, **_resolved(known, given)},
            **(errors.told() if measure else {}),
        },
    )


def _by_layer(
    experts: Sequence[Expert], weights: Mapping[str, Sequence[float]]
) -> tuple[list[Expert], dict[str, list[float]]]:
    """The experts without the layers in which their weight is 0, and the weights of those that are left."""
    own = [
        {layer: f for layer, f in expert.factors.items() if layer in weights and weights[layer][e]}
        for e, expert in enumerate(experts)
    ]
    left = [e for e, factors in enumerate(own) if factors]
    if not left:
        raise Invalid("These weights are 0 in every layer of these experts: there is nothing to merge.")
    rows = {layer: [row[e] for e in left] for layer, row in weights.items()}
    return [replace(experts[e], factors=own[e]) for e in left], rows


def _resolved(known: dict[str, inspect.Parameter], arguments: dict[str, Any]) -> dict[str, Any]:
    """What the arguments were in the end: a recipe is to say the same when a default has changed."""
    defaults = {name: p.default for name, p in known.items() if p.default not in (inspect.Parameter.empty, None)}
    return {**defaults, **arguments}


def _shares(experts: int) -> list[float]:
    return [1 / experts] * experts


def _blend(found: Any, arguments: dict[str, Any], layers: Layers) -> Callable[[Layer], Any]:
    """The method with its arguments, as a function of a layer."""
    if not inspect.isclass(found):
        return lambda layer: found(layer.A_ERI, layer.B_EOR, layer.w_E, **arguments)
    made: Any = found(**arguments)
    if hasattr(made, "look"):
        made.look(layers)
    return made


class _Errors:
    """Both errors, summed up layer by layer."""

    def __init__(self, exact: bool):
        self.exact, self.cuts = exact, False
        self.lost = self.total = self.cut = self.whole = 0.0

    def add(self, layer: Layer, result: Any) -> None:
        if isinstance(result, Cut):
            self.cuts, self.cut, self.whole = True, self.cut + result.lost, self.whole + result.total
        if not self.exact:
            A_XI, B_OX = layer.A_ERI.flatten(0, 1), layer.B_EOR.movedim(0, 1).flatten(1)
            w_X = layer.w_E.repeat_interleave(layer.A_ERI.shape[1])
            lost, total = apart(result[0], result[1], A_XI, B_OX, w_X)
            self.lost, self.total = self.lost + lost, self.total + total

    def told(self) -> dict[str, float]:
        cut = _root(self.cut, self.whole)
        if self.exact:
            return {"relative_error": cut}
        return {"relative_error": _root(self.lost, self.total), **({"truncation_error": cut} if self.cuts else {})}


def _root(lost: float, total: float) -> float:
    return (lost / total) ** 0.5 if total else 0.0
