"""Which entries of an expert move, in a word: masks of one start, whose importance is measured when it is first asked for.

    all             every entry of the expert's own; its origin (the second half of one that began as PiSSA) stays
    theta 0.9       the fewest entries that together have so much of the importance for all questions
    alpha 0.5       stage 1 of LoRA-PAR: what matters to System 1 alone, and this share of what matters to both
    beta 0.5        stage 2: the same for System 2
    random WHAT     as many entries as WHAT has, drawn at random: the control

Huang et al. 2025, "LoRA-PAR", arXiv:2507.20999; the regions are those of masks/importance.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random

import torch
from torch import Tensor

from yosegi.bases import Base
from yosegi.core.expert import Expert
from yosegi.core.model import attach
from yosegi.errors import Invalid
from yosegi.inits import fresh
from yosegi.masks.importance import Regions, regions, share_of
from yosegi.masks.importance import importance as important
from yosegi.masks.random import random
from yosegi.routers.by_request import ByRequest
from yosegi.tasks import Example
from yosegi.training.importance import importance, null
from yosegi.training.settings import Settings

Mask = dict[str, Tensor]


class Entries:
    """The entries of a fresh expert.

    Args:
        base: what the expert is trained beside.
        settings: how it will be: they say where it begins. Each seed measures importance on examples of its own.
        fast: examples of System 1.
        slow: of System 2.
        measured: how many of each importance is measured on.
        theta: the share of the importance that is kept of each system.
    """

    def __init__(
        self,
        base: Base,
        settings: Settings,
        fast: Sequence[Example],
        slow: Sequence[Example],
        measured: int = 100,
        theta: float = 0.9,
    ):
        self.base, self.settings, self.theta, self.slow, self.measured = base, settings, theta, slow, measured
        self.start = fresh(
            base.model, "start", rank=settings.rank, alpha=settings.alpha, targets=settings.targets, init=settings.init,
            seed=settings.init_seed, **settings.init_args,
        )  # fmt: skip
        self.examples = {"fast": self._some(fast, measured), "slow": self._some(slow, measured)}
        self.examples["all"] = [*self.examples["fast"], *self.examples["slow"]]
        self._scores: dict[str, Mapping[str, Tensor]] = {}

    def _some(self, examples: Sequence[Example], count: int) -> list[Example]:
        return Random(self.settings.seed).sample(examples, min(count, len(examples)))

    def silent(self) -> Expert:
        """The expert as it begins: its origin is subtracted, so it changes nothing yet."""
        banks = attach(self.base.model, [self.start], ByRequest())
        try:
            for bank in banks.values():
                bank.set_origin()
            return replace(banks.experts()[0], card=self.start.card)
        finally:
            banks.detach()

    def score(self, kind: str) -> Mapping[str, Tensor]:
        """The importance of every entry for one kind of examples."""
        if kind not in self._scores:
            self._scores[kind] = importance(
                self.base, self.start, self.examples[kind], max_length=self.settings.max_length
            )
        return self._scores[kind]

    def regions(self, alpha: float = 1.0, beta: float = 1.0) -> Regions:
        """The entries of System 1 alone, of System 2 alone, and of both."""
        return regions(self.score("fast"), self.score("slow"), self.theta, alpha, beta)

    def null_jaccard(self) -> float:
        """How alike the regions of two halves of System 2 are, which differ by chance alone."""
        halves = null(
            self.base, self.start, self._some(self.slow, 2 * self.measured), max_length=self.settings.max_length
        )
        return regions(*halves, self.theta).jaccard

    def mask(self, what: str, seed: int = 0) -> Mask:
        """The entries that move, as the head of this file writes them; `seed` is that of the draw."""
        kind, _, number = what.partition(" ")
        own = {f"{n}|{k}": t for n, f in self.start.factors.items() for k, t in (("A", f.A_RI), ("B", f.B_OR))}
        if what == "all":
            return {name: torch.ones_like(entry, dtype=torch.bool) for name, entry in own.items()}
        if kind == "random":
            return random(own, share_of(self.mask(number)), seed=1000 * seed + number.startswith("beta"))
        try:
            share = float(number)
        except ValueError:
            kind, share = "", 0.0
        if kind == "theta":
            return important(self.score("all"), self.score("all"), share)
        if kind not in ("alpha", "beta"):
            raise Invalid(f"{what!r} are no entries; there are: all, theta T, alpha A, beta B, random WHAT.")
        return self.regions(share, share).stages[kind == "beta"]
