"""Experts attached to the base once; a trial writes numbers where that is enough. No reload, no copy of the base.

    fixed weights, or a sum of deltas     one small tensor w [L, E] is written; the router of every layer is a row of it
    any other merge                       it is made and attached: that takes as long as the merge itself
    a router                              every layer gets it anew, with other arguments (`Banks.route`)

The answers are those of the arm freshly attached (`Arm.attached`); tests/search/test_workbench.py holds it to that.
Shapes: L layers, E experts, H heads.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from yosegi import registry
from yosegi.bases import Base
from yosegi.core.bank import Bank
from yosegi.core.context import Context
from yosegi.core.expert import Expert
from yosegi.core.mix import named
from yosegi.core.model import Banks, attach
from yosegi.core.router import Router
from yosegi.engine.arm import Arm
from yosegi.merges import is_sum, merge
from yosegi.routers.uniform import Uniform


class Workbench:
    """One base and the experts of a search; when the block ends the base is as it was.

    Args:
        base: the base.
        experts: those of all arms that are going to be applied.
    """

    def __init__(self, base: Base, experts: Sequence[Expert]):
        self.base, self.experts = base, list(experts)
        self.banks: Banks | None = None
        self._attached: tuple[Any, ...] = ()

    def __enter__(self) -> "Workbench":
        return self

    def __exit__(self, *_: object) -> None:
        self.detach()

    def detach(self) -> None:
        """Takes the experts out of the base."""
        if self.banks is not None:
            self.banks.detach()
        self.banks, self._attached = None, ()

    def apply(self, arm: Arm) -> Banks | None:
        """From here on the model answers as this arm; None for the base alone."""
        if not arm.experts:
            self.detach()
            return None
        weights = arm.merge_args["weights"] if summed(arm) else arm.weights
        if weights is not None:
            return self._weight(arm, weights)
        if arm.merge:
            merged = merge(arm.experts, arm.merge, measure=False, **arm.merge_args)
            self.detach()
            return self._attach((arm.merge,), [merged], Uniform())
        key, before = ("routed", arm.mix, arm.heads, *(expert.name for expert in arm.experts)), self._attached
        router = registry.find("routers", arm.router)(**arm.router_args)
        banks = self._attach(key, arm.experts, router, arm.mix, arm.heads)
        if before == key:
            banks.route(router)
        if arm.router_state:
            banks.load_router_state(arm.router_state)
        return banks

    def _weight(self, arm: Arm, weights: Sequence[float] | Mapping[str, Sequence[float]]) -> Banks:
        mix, before = "outputs" if arm.merge else arm.mix, self._attached
        banks = self._attach(("weights", mix), self.experts, _Written(), mix)
        if before != self._attached:
            device = next(iter(banks.values())).A_ERI.device
            self._w_LE = torch.zeros(len(banks), len(self.experts), device=device)
            for n, layer in enumerate(banks.layers.values()):
                layer.router.w_HE = self._w_LE[n : n + 1]  # a view: one copy reaches all layers
        names, zeros = [expert.name for expert in arm.experts], [0.0] * len(arm.experts)
        rows = [weights.get(layer, zeros) for layer in banks] if isinstance(weights, Mapping) else [weights]
        column_E = [names.index(name) if name in names else -1 for name in banks.names]
        self._w_LE.copy_(torch.tensor([[0.0 if e < 0 else w_E[e] for e in column_E] for w_E in rows]))
        return banks

    def _attach(
        self, key: tuple[Any, ...], experts: Sequence[Expert], router: Router, mix: str = "outputs", heads: int = 1
    ) -> Banks:
        """Attaches experts, unless these are attached already; `key` says what they are, and how they are mixed."""
        if self.banks is None or self._attached != key:
            self.detach()
            self.banks, self._attached = attach(self.base.model, experts, router, named(mix), heads=heads), key
            self.base.model.eval()
        return self.banks


class _Written(Router):
    """w [1, E] is what the workbench wrote."""

    w_HE: Tensor

    def bind(self, bank: Bank) -> None:
        self.register_buffer("w_HE", torch.zeros(1, len(bank.names), device=bank.A_ERI.device), persistent=False)

    def forward(self, x_I: Tensor, context: Context) -> Tensor:
        return self.w_HE


def summed(arm: Arm) -> bool:
    """Returns whether an arm is Σ w ΔW with these weights and nothing else, so that nothing has to be merged."""
    return arm.merge is not None and is_sum(arm.merge) and set(arm.merge_args) == {"weights"}
