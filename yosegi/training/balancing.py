"""LoRAMoE's objective at work: it looks at a step that was cut before it is learnt, and reports what the routers did in it.

Dou et al. 2024, "LoRAMoE", arXiv:2312.09979. A step that fits into one pass costs nothing more; of one in several passes each is
read twice, once without gradients (objectives/balance.py says why).

Shapes: L layers with a router, B sequences, N experts, K types.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from yosegi.objectives.balance import Constraint, Routed, balance, totals, unevenness


class Balancing:
    """An objective, (model, batch, tokens) -> loss, for one learner with a bank and a router.

    Args:
        constraint: how the experts are to be balanced.
        types: what the types are called, for the metrics.
    """

    def __init__(self, constraint: Constraint, types: Sequence[str] = ()):
        self.constraint, self.types = constraint, tuple(types)
        self._forget()

    def begin(
        self,
        model: nn.Module,
        batches: Iterable[Mapping[str, Any]] = (),
        add_up: Callable[[Tensor], Tensor] = lambda tensor: tensor,
    ) -> None:
        """Start a new step.

        Args:
            model: with the bank in it.
            batches: all of the step, where it comes in several.
            add_up: adds up over the processes that share the step.
        """
        self._forget()
        self.add_up = add_up
        if not self.constraint.beta:
            return
        devices = [p.device for p in model.parameters() if p.device.type == "cuda"][:1]
        with torch.random.fork_rng(devices):  # what is dropped now is dropped again when it is learnt
            for batch in batches:
                found_L3 = totals(model, batch, self.constraint)
                self.whole_L3 = found_L3 if self.whole_L3 is None else self.whole_L3 + found_L3
        if self.whole_L3 is not None:
            self.whole_L3 = add_up(self.whole_L3)

    def __call__(self, model: nn.Module, batch: Mapping[str, Any], tokens: Tensor | int) -> Tensor:
        """The loss of one batch of the step."""
        return balance(model, batch, tokens, self.constraint, self.whole_L3, self._note)

    def columns(self) -> dict[str, Any]:
        """Returns what the routers did in the step, for a row of the metrics.

        ce            the answers' loss; what `loss` has beyond it is β times `balance`
        balance       the constraint, over the layers
        load_cv       standard deviation over mean of the experts' load, mean over the layers; 0 is even
        entropy       of a token's weights, in nats, mean over tokens and layers; log N is even
        match_mass    the weight that sequences give the experts of their own type, mean over sequences and layers
        mass          by type of the sequence, the weight of each type of experts
        """
        found: dict[str, Any] = {"ce": float(self.add_up(torch.as_tensor(self.ce)))}
        if self.sums_L3 is None or not self.load_N:
            return found
        uneven_L = unevenness(self.add_up(self.sums_L3), self.constraint.lbc)
        found["balance"] = float(uneven_L.sum() if self.constraint.reduce == "sum" else uneven_L.mean())
        loads = [self.add_up(load_N) for load_N in self.load_N.values()]
        found["load_cv"] = fmean(float(l_N.std(correction=0) / l_N.mean().clamp(min=1e-9)) for l_N in loads)
        entropy, there = self.add_up(torch.stack([torch.as_tensor(self.entropy), torch.as_tensor(self.there)])).tolist()
        found["entropy"] = entropy / max(there, 1.0)
        if self.seen_K is not None and self.mass_KK is not None:
            seen_K, mass_KK = self.add_up(self.seen_K), self.add_up(self.mass_KK)
            if seen_K.any():
                found["match_mass"] = float(mass_KK.diagonal().sum() / seen_K.sum())
                mass = (mass_KK / seen_K.clamp(min=1)[:, None]).tolist()
                found["mass"] = {
                    self._called(k): {self._called(j): round(m, 4) for j, m in enumerate(mass[k])}
                    for k, n in enumerate(seen_K.tolist())
                    if n
                }
        return found

    def _called(self, k: int) -> str:
        return self.types[k] if k < len(self.types) else str(k)

    def _forget(self) -> None:
        self.whole_L3: Tensor | None = None
        self.sums_L3: Tensor | None = None
        self.seen_K: Tensor | None = None
        self.ce: Tensor | float = 0.0
        self.entropy: Tensor | float = 0.0
        self.there: Tensor | float = 0.0
        self.mass_KK: Tensor | None = None
        self.load_N: dict[str, Tensor] = {}

    @torch.no_grad()
    def _note(self, ce: Tensor, routed: Sequence[Routed], sums_L3: Tensor, batch: Mapping[str, Any]) -> None:
        """Adds up the routing of one batch on its device, without waiting for it. Each sequence counts alike."""
        types, device = self.constraint.expert_types, sums_L3.device
        self.ce = self.ce + ce.sum()
        self.sums_L3 = sums_L3 if self.sums_L3 is None else self.sums_L3 + sums_L3
        K = max(max(types, default=-1) + 1, len(self.types)) if types and "type_B" in batch else 0
        with torch.autocast(device.type, enabled=False):
            into_NK = one_hot(torch.tensor(types, device=device), K).float() if K else None
            for one in routed:
                self.load_N[one.layer] = self.load_N.get(one.layer, 0) + one.Q_BN[:, one.present_N].sum(0)
                self.entropy, self.there = self.entropy + one.entropy_B.sum(), self.there + one.counted_B.sum()
                if into_NK is not None:
                    own_BK = one_hot(batch["type_B"] + 1, K + 1)[:, 1:] * one.counted_B[:, None]
                    seen_K, mass_KK = own_BK.sum(0), own_BK.mT @ (one.Q_BN @ into_NK)
                    self.seen_K = seen_K if self.seen_K is None else self.seen_K + seen_K
                    self.mass_KK = mass_KK if self.mass_KK is None else self.mass_KK + mass_KK
