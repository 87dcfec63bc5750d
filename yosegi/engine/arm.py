"""An arm: one way to answer. The base alone, an expert, experts under a router or with fixed weights, or a merge of experts."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from yosegi import registry
from yosegi.bases import Base
from yosegi.core.expert import Expert
from yosegi.core.mix import named
from yosegi.core.model import Banks, attach
from yosegi.engine.features import features
from yosegi.engine.whole import read_weights, swapped
from yosegi.errors import Invalid
from yosegi.merges import merge as merge_experts

FREE = {"constraint": "free"}
"""Arguments of the router static under which its state is the weights themselves."""


@dataclass(frozen=True)
class Arm:
    """Which experts are attached to the base, and how they are weighted.

    Args:
        name: shown on the leaderboard; the name of a kept arm.
        experts: none for the base alone.
        router: a method of `routers`.
        router_args: its hyper-parameters.
        router_state: what a trained router learnt for these experts (`Banks.router_state`).
        mix: outputs or factors.
        heads: slices of a layer that are routed separately (MHR).
        ablate: experts whose weight is set to zero while the others keep theirs.
        merge: a method of `merges`; the experts become one before anything runs.
        merge_args: its arguments; `weights` may be among them.
        base_delta: the run folder of a training of whole weights, which replace those of the base while the arm answers.
        tasks: of a kept arm: the tasks its router was trained on.
        data_hash: of a kept arm: the hash of their examples.
        training: of a kept arm: the settings of its training.
    """

    name: str
    experts: Sequence[Expert] = ()
    router: str = "uniform"
    router_args: Mapping[str, Any] = field(default_factory=dict)
    router_state: Mapping[str, Tensor] = field(default_factory=dict)
    mix: str = "outputs"
    heads: int = 1
    ablate: tuple[str, ...] = ()
    merge: str | None = None
    merge_args: Mapping[str, Any] = field(default_factory=dict)
    base_delta: Path | None = None
    tasks: tuple[str, ...] = ()
    data_hash: str | None = None
    training: Mapping[str, Any] = field(default_factory=dict)

    @contextmanager
    def attached(self, base: Base) -> Iterator[Banks | None]:
        """Attaches the experts to the base and detaches them when the block ends. The base is never reloaded."""
        if self.ablate and (self.merge or not self.experts):
            raise Invalid(f"{self.name}: only an expert under a router can be ablated.")
        if self.base_delta is not None:
            if self.experts:
                raise Invalid(f"{self.name}: experts belong to the base as it is, and not to other weights.")
            with swapped(base, self.base_delta):
                yield None
            return
        experts = list(self.experts)
        if self.merge:
            experts = [merge_experts(experts, self.merge, name=self.name, **self.merge_args)]
        if not experts:
            yield None
            return
        router = registry.find("routers", self.router)(**self.router_args)
        banks = attach(base.model, experts, router, named(self.mix), heads=self.heads)
        base.model.eval()
        try:
            if self.router_state:
                banks.load_router_state(self.router_state)
            with banks.ablated(self.ablate):
                yield banks
        finally:
            banks.detach()

    @classmethod
    def weighted(cls, name: str, experts: Sequence[Expert], weights: Sequence[float], **more: Any) -> "Arm":
        """Returns the arm of experts with fixed weights, the same in every layer: Σ w B A x."""
        return cls(name, experts, "static", FREE, {"|a_E": torch.tensor(list(weights), dtype=torch.float64)}, **more)

    @property
    def weights(self) -> list[float] | None:
        """The fixed weights of its experts, equal in every layer; None for an arm of another kind."""
        if self.merge or not self.experts:
            return None
        if self.router == "static" and dict(self.router_args) == FREE and set(self.router_state) == {"|a_E"}:
            return self.router_state["|a_E"].tolist()
        return [1.0] if self.router == "uniform" and len(self.experts) == 1 else None

    @property
    def routed(self) -> bool:
        """Whether a router weights several experts."""
        return len(self.experts) > 1 and self.merge is None

    @property
    def needs(self) -> str | None:
        """What the router needs to know about each sequence (core/router.py); None without a router."""
        return registry.find("routers", self.router).needs if self.experts and not self.merge else None

    def can_answer(self, task: str) -> bool:
        """Returns whether the arm can answer a task: some routers only know the tasks that experts were trained on."""
        only = registry.find("routers", self.router).trained_tasks_only and self.merge is None
        return not only or any(task in expert.tasks for expert in self.experts)

    def known(self, base: Base, banks: Banks | None, task: str, prompts: Sequence[str]) -> dict[str, Any]:
        """Returns what the router may know of these prompts: arguments of `Banks.set_batch`, a value for each prompt."""
        if banks is None or self.needs is None:
            return {}
        if self.needs == "tasks":
            return {"tasks": [task if task in banks.tasks else None] * len(prompts)}
        if self.needs == "features":
            return {"features": features(base, prompts, banks, self.router_args.get("encoder", ""))}
        raise Invalid(f"The router {self.router} has to be told which {self.needs} the sequences ask for.")

    def describe(self) -> dict[str, Any]:
        """Returns the columns of a result row that describe the arm."""
        way = "merge" if self.merge else "routed" if self.routed else "expert" if self.experts else "base"
        return {
            "model": self.name,
            "method": way if self.base_delta is None else "whole weights",
            "router": self.router if self.routed else None,
            "mix": self.mix if self.routed else None,
            "merge": self.merge,
            **({"ablate": list(self.ablate)} if self.ablate else {}),
            "trainable_params": sum(_size(expert) for expert in self.experts) or self._whole("parameters", 0),
            "active_params": self._active(),
        }

    def fingerprint(self, **more: Any) -> str:
        """Returns 12 hex digits that change with anything about this arm or `more`; a measurement with them is not repeated."""
        card = ("sha256", "data_hash", "created")
        experts = [[e.name, e.tasks, *(e.card.get(key) for key in card)] for e in self.experts]
        own = [self.describe(), self.router_args, self._state(), self.merge_args, experts, self._whole("sha256"), more]
        return hashlib.sha256(json.dumps(own, sort_keys=True, default=str).encode()).hexdigest()[:12]

    def _whole(self, key: str, default: Any = None) -> Any:
        return default if self.base_delta is None else read_weights(self.base_delta).get(key, default)

    def _state(self) -> str:
        digest = hashlib.sha256(str(self.heads).encode())
        for name, value in sorted(self.router_state.items()):
            digest.update(name.encode() + value.detach().cpu().contiguous().float().numpy().tobytes())
        return digest.hexdigest()[:12]

    def _active(self) -> int:
        """Returns the expert parameters that one token uses: those of the largest experts that the router may choose together."""
        sizes = sorted((_size(expert) for expert in self.experts if expert.name not in self.ablate), reverse=True)
        if self.merge or not sizes:
            return sum(sizes[:1])
        return sum(sizes[: registry.find("routers", self.router)(**self.router_args).active(len(sizes))])


def _size(expert: Expert) -> int:
    return sum(f.A_RI.numel() + f.B_OR.numel() for f in expert.factors.values())
