"""LoRAMoE's objective at work: it reads a step that was cut before it is learnt, and reports what the routers did in it.

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

LOAD = "load of "
"""Before the name of a layer: the load of its experts."""


class Balancing:
    """An objective, (model, batch, tokens) -> loss, for one learner with a bank and a router.

    Args:
        constraint: how the experts are to be balanced.
        types: names of the types, for the metrics.
    """

    def __init__(self, constraint: Constraint, types: Sequence[str] = ()):
        self.constraint, self.types = constraint, tuple(types)
        self.sums: dict[str, Tensor] = {}

    def begin(
        self,
        model: nn.Module,
        batches: Iterable[Mapping[str, Any]] = (),
        add_up: Callable[[Tensor], Tensor] = lambda tensor: tensor,
    ) -> None:
        """Starts a new step.

        Args:
            model: with the bank in it.
            batches: all of the step, where it comes in several.
            add_up: adds up over the processes that share the step.
        """
        self.sums, self.add_up, whole_L3 = {}, add_up, None
        devices = [p.device for p in model.parameters() if p.device.type == "cuda"][:1]
        with torch.random.fork_rng(devices):  # what is dropped now is dropped again when it is learnt
            for batch in batches if self.constraint.beta else ():
                batch_L3 = totals(model, batch, self.constraint)
                whole_L3 = batch_L3 if whole_L3 is None else whole_L3 + batch_L3
        self.whole_L3 = None if whole_L3 is None else add_up(whole_L3)

    def __call__(self, model: nn.Module, batch: Mapping[str, Any], tokens: Tensor | int) -> Tensor:
        """Returns the loss of one batch of the step."""
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
        sums = {name: self.add_up(value) for name, value in self.sums.items()}
        columns: dict[str, Any] = {"ce": float(sums["ce"])}
        if loads := [load_N for name, load_N in sums.items() if name.startswith(LOAD)]:
            uneven_L = unevenness(sums["L3"], self.constraint.lbc)
            columns["balance"] = float(uneven_L.sum() if self.constraint.reduce == "sum" else uneven_L.mean())
            columns["load_cv"] = fmean(float(l_N.std(correction=0) / l_N.mean().clamp(min=1e-9)) for l_N in loads)
            columns["entropy"] = float(sums["entropy"] / sums["counted"].clamp(min=1))
        if "seen_K" in sums and sums["seen_K"].any():
            seen_K, mass_KK = sums["seen_K"], sums["mass_KK"]
            columns["match_mass"] = float(mass_KK.diagonal().sum() / seen_K.sum())
            mass = (mass_KK / seen_K.clamp(min=1)[:, None]).tolist()
            names = [*self.types, *map(str, range(len(self.types), len(mass)))]
            columns["mass"] = {
                names[k]: {name: round(m, 4) for name, m in zip(names, mass[k], strict=False)}
                for k, n in enumerate(seen_K.tolist())
                if n
            }
        return columns

    def _add(self, name: str, value: Tensor) -> None:
        self.sums[name] = self.sums[name] + value if name in self.sums else value

    @torch.no_grad()
    def _note(self, ce: Tensor, routed: Sequence[Routed], sums_L3: Tensor, batch: Mapping[str, Any]) -> None:
        """Adds up the routing of one batch on its device, without waiting for it. Each sequence counts alike."""
        types, device = self.constraint.expert_types, sums_L3.device
        self._add("ce", ce.sum())
        self._add("L3", sums_L3)
        K = max(max(types, default=-1) + 1, len(self.types)) if types and "type_B" in batch else 0
        with torch.autocast(device.type, enabled=False):
            into_NK = one_hot(torch.tensor(types, device=device), K).float() if K else None
            for one in routed:
                self._add(LOAD + one.layer, one.Q_BN[:, one.present_N].sum(0))
                self._add("entropy", one.entropy_B.sum())
                self._add("counted", one.counted_B.sum())
                if into_NK is not None:
                    type_BK = one_hot(batch["type_B"] + 1, K + 1)[:, 1:] * one.counted_B[:, None]
                    self._add("seen_K", type_BK.sum(0))
                    self._add("mass_KK", type_BK.mT @ (one.Q_BN @ into_NK))
