"""Merges: many experts -> one. `merge` goes through the layers, and a method merges each.

A method is a function (A [E, R, I], B [E, O, R], w [E], its own arguments) -> (A [R, I], B [O, R]) of one layer. A method
that has to read all layers first, or needs the names of the experts, is a class: its constructor takes the arguments,
`look(layers)` reads all layers, and then it is called with one Layer after another. A result that was cut to a rank is a Cut,
with what was lost. The module of a method may define `weights(experts)`, its default weights, and `EXACT = True` if its
result before any cut is Σ w ΔW itself.

The memory is that of one layer, whatever the number of experts. The card of the result has the recipe, the parents, and

    relative_error     ‖merged - Σ w ΔW‖ / ‖Σ w ΔW‖         the distance from the weighted sum over all layers, Frobenius;
                                                            null where the experts cancel
    truncation_error   ‖merged - whole‖ / ‖whole‖           what the cut lost of the method's own uncut result; only where
                                                            that is not Σ w ΔW
"""

import inspect
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import torch

from yosegi import registry
from yosegi.core.expert import Expert, Factors
from yosegi.errors import Invalid, UnknownName, WrongBase
from yosegi.merges._cut import Cut
from yosegi.merges._distance import CANCELLED, apart, magnitude, norm
from yosegi.merges._layers import Layer, Layers, weighted_sum
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
    """Returns one expert made of many.

    Args:
        experts: at least one, all of one base. A layer that some lack is merged from those that have it.
        method: a method of this drawer.
        weights: one per expert; by default 1/E each, or the method's own `weights(experts)`. Or, by layer, one per expert: an
            expert of weight 0 is then left out of the layer, and a layer that is not named is not merged.
        name: the name of the result.
        measure: puts the errors into the card; a search over weights saves this time.
        given: arguments of the method, such as `rank` of svd.
    """
    if not experts:
        raise Invalid("There is nothing to merge.")
    make: Any = registry.find("merges", method)
    known = arguments("merges", method)
    if isinstance(weights, Mapping):
        for row in weights.values():
            weights_of(method, len(experts), row)
        experts, weights = _by_layer(experts, weights)
    else:
        weights = weights_of(method, len(experts), weights)
    bases = {e.card.get("base_hash") for e in experts}
    if len(bases) > 1:
        raise WrongBase(f"These experts have different bases: {', '.join(sorted(map(str, bases)))}.")

    UnknownName.check(f"argument of {method}", given, known)
    factors: dict[str, Factors] = {}
    errors = _Errors(_attribute(method, "EXACT", False))
    with progress(f"{method} merge", 0) as bar:
        layers = Layers(experts, weights, bar)
        blend: Any = lambda layer: make(layer.A_ERI, layer.B_EOR, layer.w_E, **given)  # noqa: E731
        if inspect.isclass(make):
            blend = make(**given)
            if hasattr(blend, "look"):
                blend.look(layers)
        for layer in layers:
            result = blend(layer)
            factors[layer.name] = Factors(result[0].contiguous(), result[1].contiguous())
            if measure:
                errors.add(layer, result)
    defaults = {name: p.default for name, p in known.items() if p.default not in (inspect.Parameter.empty, None)}
    return Expert(
        name,
        factors,
        {
            "base": experts[0].card.get("base"),
            "base_hash": experts[0].card.get("base_hash"),
            "task_type": experts[0].card.get("task_type"),
            "task": sorted({task for expert in experts for task in expert.tasks}),
            "parents": [expert.name for expert in experts],
            # With the defaults, so that the recipe stays valid when a default changes.
            "training": {"merge": method, "weights": weights, **defaults, **given},
            **(errors.card() if measure else {}),
        },
    )


def _by_layer(
    experts: Sequence[Expert], weights: Mapping[str, Sequence[float]]
) -> tuple[list[Expert], dict[str, list[float]]]:
    """Returns the experts without the layers in which their weight is 0, and the weights of the remaining experts."""
    kept = [
        {layer: f for layer, f in expert.factors.items() if layer in weights and weights[layer][e]}
        for e, expert in enumerate(experts)
    ]
    left = [e for e, factors in enumerate(kept) if factors]
    if not left:
        raise Invalid("These weights are 0 in every layer of these experts: there is nothing to merge.")
    rows = {layer: [row[e] for e in left] for layer, row in weights.items()}
    return [replace(experts[e], factors=kept[e]) for e in left], rows


def weights_of(method: str, experts: int, weights: Sequence[float] | None = None) -> list[float]:
    """Returns the weights of a merge of this many experts: those given, or the default of the method.

    Raises:
        Invalid: there are more or fewer weights than experts, or one is not finite.
    """
    default = _attribute(method, "weights", lambda experts: [1 / experts] * experts)
    values = list[float](default(experts) if weights is None else weights)
    if len(values) != experts:
        raise Invalid(f"{experts} experts need {experts} weights; {len(values)} were given.")
    if not all(math.isfinite(weight) for weight in values):
        raise Invalid(f"Weights must be finite numbers; {values} were given.")
    return values


@cache
def is_sum(method: str) -> bool:
    """Returns whether a merge is Σ w ΔW and nothing else, so that its experts need not be merged to answer as it does."""
    return bool(_attribute(method, "EXACT", False)) and not arguments("merges", method)


def _attribute(method: str, name: str, default: Any) -> Any:
    """Returns what the module of a method defines under a name."""
    return getattr(inspect.getmodule(registry.find("merges", method)), name, default)


class _Errors:
    """Both errors, summed over the layers."""

    def __init__(self, exact: bool):
        self.exact, self.cuts = exact, False
        self.lost = self.total = self.cut = self.whole = self.parts = 0.0

    def add(self, layer: Layer, result: Any) -> None:
        if isinstance(result, Cut):
            self.cuts, self.cut, self.whole = True, self.cut + result.lost, self.whole + result.total
        whole = weighted_sum(layer.A_ERI, layer.B_EOR, layer.w_E)
        lost, total, parts = (0.0, *magnitude(*whole)) if self.exact else apart(result[0], result[1], *whole)
        self.lost, self.total, self.parts = self.lost + lost, self.total + total, self.parts + parts

    def card(self) -> dict[str, float | None]:
        if self.parts and self.total <= CANCELLED * self.parts:  # an error relative to nothing is no number
            warnings.warn("the weighted sum of these experts is zero but for rounding: they cancel.", stacklevel=3)
            return {"relative_error": None}
        cut = (self.cut / self.whole) ** 0.5 if self.whole else 0.0
        if self.exact:
            return {"relative_error": cut}
        error = (self.lost / self.total) ** 0.5 if self.total else 0.0
        return {"relative_error": error, **({"truncation_error": cut} if self.cuts else {})}
