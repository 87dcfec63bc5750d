"""Experts put into the base once; each trial only writes numbers into them. No reload, no copy of the base.

    a sum of deltas (cat, task_arithmetic)    one small tensor w [G, E] is written; every layer's router looks into it
    any other merge                           the merged layers are written into a bank of one expert, in place
    a router                                  every layer gets it anew, with other settings (`Banks.route`)

What is answered is what a fresh `put` of the same would answer; tests/search/test_live.py holds it to that.
Shapes: G groups of layers, E experts, R rank, I in, O out, H heads.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from yosegi import registry
from yosegi.bases import Base
from yosegi.core.bank import Bank
from yosegi.core.context import Context
from yosegi.core.expert import Expert, Factors
from yosegi.core.mix import named
from yosegi.core.model import Banks, attach
from yosegi.core.router import Router
from yosegi.errors import Invalid
from yosegi.merges import merge
from yosegi.routers.uniform import Uniform
from yosegi.search.space import Recipe

SUMS = ("cat", "task_arithmetic")
"""Merges that are exactly Σ w ΔW: nothing has to be merged to know what they answer."""


class Live:
    """One base with the experts of a search beside it; `with` takes them out again.

    Args:
        base: the model.
        experts: in the order that weights count them.
        groups: the group of each layer (layers.py).
        mix: outputs or factors.
        learnt: what the router learnt (`Banks.router_state`), for those that do.
        heads: slices routed on their own (MHR).
    """

    def __init__(
        self,
        base: Base,
        experts: Sequence[Expert],
        groups: Mapping[str, int],
        mix: str = "outputs",
        learnt: Mapping[str, Tensor] | None = None,
        heads: int = 1,
    ):
        self.base, self.experts, self.groups, self.mix = base, list(experts), groups, named(mix)
        self.learnt, self.heads = learnt or {}, heads
        self.banks: Banks | None = None
        self._stands = ""

    def __enter__(self) -> "Live":
        return self

    def __exit__(self, *_: object) -> None:
        self.detach()

    def detach(self) -> None:
        """The base as it was."""
        if self.banks is not None:
            self.banks.detach()
        self.banks, self._stands = None, ""

    def write(self, recipe: Recipe) -> Banks:
        """From here on the model answers by this recipe."""
        if recipe.kind == "routers":
            return self._route(recipe)
        return self._blend(recipe) if summed(recipe) else self._merge(recipe)

    def _stand(self, what: str, experts: Sequence[Expert], router: Router) -> Banks:
        """Experts beside the base, unless these are there already."""
        if self.banks is None or self._stands != what:
            self.detach()
            self.banks, self._stands = attach(self.base.model, experts, router, self.mix, heads=self.heads), what
            self.base.model.eval()
            if what == "blend":
                device = next(iter(self.banks.values())).A_ERI.device
                self._w_GE = torch.zeros(max(self.groups.values()) + 1, len(experts), device=device)
                for name, layer in self.banks.layers.items():
                    g = self.groups[name]
                    layer.router.w_HE = self._w_GE[g : g + 1]  # a view: one copy reaches all layers
        return self.banks

    def _blend(self, recipe: Recipe) -> Banks:
        banks = self._stand("blend", self.experts, _Written())
        self._w_GE.copy_(torch.tensor(recipe.weights_GE))
        return banks

    def _merge(self, recipe: Recipe) -> Banks:
        merged = fold(self.experts, recipe, self.groups, measure=False)
        banks = self._stand("merged", [self._nothing()], Uniform())
        for layer, bank in banks.items():
            overwrite(bank, merged.factors.get(layer))
        return banks

    def _route(self, recipe: Recipe) -> Banks:
        router = registry.find("routers", recipe.method)(**recipe.args)
        already = self._stands == "routed"
        banks = self._stand("routed", self.experts, router)
        if already:
            banks.route(router)
        if self.learnt:
            banks.load_router_state(self.learnt)
        return banks

    def _nothing(self) -> Expert:
        """An expert that touches every layer and says nothing: its place is what is needed."""
        found: dict[str, Factors] = {}
        for expert in self.experts:
            for layer, (A_RI, B_OR, _) in expert.factors.items():
                found.setdefault(layer, Factors(torch.zeros(1, A_RI.shape[1]), torch.zeros(len(B_OR), 1)))
        return Expert("merged", found, {})


class _Written(Router):
    """w [1, E] is what somebody wrote."""

    w_HE: Tensor

    def bind(self, bank: Bank) -> None:
        """Silence, until then."""
        self.register_buffer("w_HE", torch.zeros(1, len(bank.names), device=bank.A_ERI.device), persistent=False)

    def forward(self, x_I: Tensor, context: Context) -> Tensor:
        """[1, E]: the same for every token."""
        return self.w_HE


def summed(recipe: Recipe) -> bool:
    """Whether a recipe is Σ w ΔW and nothing else, so that w alone says it."""
    return recipe.kind == "merges" and recipe.method in SUMS and not recipe.args


@torch.no_grad()
def overwrite(bank: Bank, factors: Factors | None) -> None:
    """The only expert of a bank becomes another one, in place as long as it is no wider than the bank. None: it is silent."""
    if factors is None:
        bank.scale_E.zero_()
        return
    (_, O, R), (A_RI, B_OR, scale) = bank.B_EOR.shape, factors
    if factors.rank > R:
        R, device = factors.rank, bank.A_ERI.device
        bank.A_ERI = nn.Parameter(torch.zeros(1, R, A_RI.shape[1], device=device), requires_grad=False)
        bank.B_EOR = nn.Parameter(torch.zeros(1, R, O, device=device).mT, requires_grad=False)
    bank.A_ERI[0, : factors.rank].copy_(A_RI)
    bank.B_EOR[0, :, : factors.rank].copy_(B_OR)
    bank.A_ERI[0, factors.rank :].zero_()
    bank.B_EOR[0, :, factors.rank :].zero_()
    bank.scale_E.fill_(scale)
    bank.rank_E = (factors.rank,)


def fold(
    experts: Sequence[Expert], recipe: Recipe, groups: Mapping[str, int], name: str = "merged", measure: bool = True
) -> Expert:
    """The one expert that a merge recipe stands for, each group of layers merged by its own weights.

    An expert of weight 0 is left out, so an expert alone is that expert by every method. With several groups a method that
    looks at all layers at once sees those of one group; `relative_error` is then that of the worst group.

    Raises:
        Invalid: it is no merge, or the method refuses these experts or weights.
    """
    if recipe.kind != "merges":
        raise Invalid(f"The router {recipe.method} chooses anew for every token: it cannot be folded into one expert.")
    factors: dict[str, Factors] = {}
    parts: list[Expert] = []
    for g, w_E in enumerate(recipe.weights_GE):
        here = [
            (replace(expert, factors=own), w)
            for expert, w in zip(experts, w_E, strict=True)
            if w and (own := {layer: f for layer, f in expert.factors.items() if groups[layer] == g})
        ]
        if here:
            some, weights = zip(*here, strict=True)
            parts.append(merge(some, recipe.method, weights, name, measure=measure, **recipe.args))
            factors |= parts[-1].factors
    if not parts:
        return Expert(name, {}, {})
    heard = [e for e, w_G in zip(experts, zip(*recipe.weights_GE, strict=True), strict=True) if any(w_G)]
    card = dict(parts[0].card) | {
        "task": sorted({task for expert in heard for task in expert.tasks}),
        "parents": [expert.name for expert in heard],
        "relative_error": max(part.card.get("relative_error", 0.0) for part in parts),
    }
    return Expert(name, factors, card)
