"""The masks of one fresh expert, each in a word; the importance of its entries is measured when it is first asked for.

    all             every entry; the origin (the second half of an expert that began as PiSSA) stays
    theta 0.9       the fewest entries that together have so much of the importance for all questions
    alpha 0.5       stage 1 of LoRA-PAR: what matters to System 1 alone, and this share of what matters to both
    beta 0.5        stage 2: the same for System 2
    random MASK     as many entries as another mask has, drawn at random: the control

Huang et al. 2025, "LoRA-PAR", arXiv:2507.20999; the regions are those of masks/importance.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from random import Random

import torch
from torch import Tensor

from yosegi.bases import Base
from yosegi.core.expert import Expert
from yosegi.errors import Invalid
from yosegi.masks.importance import Regions, regions, share_of
from yosegi.masks.importance import importance as most_important
from yosegi.masks.random import random
from yosegi.routers.by_request import ByRequest
from yosegi.tasks import Example
from yosegi.training.fleet import fresh_expert
from yosegi.training.importance import importance, null
from yosegi.training.job import attached
from yosegi.training.settings import Settings


class Entries:
    """The entries of a fresh expert.

    Args:
        base: the model that the expert is trained beside.
        settings: of its training: they say where it begins. Each seed measures importance on examples of its own.
        fast: examples of System 1.
        slow: examples of System 2.
        measured: number of examples of each that importance is measured on.
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
        self.start = fresh_expert(base, settings, "start")
        self.examples = {"fast": self._sample(fast, measured), "slow": self._sample(slow, measured)}
        self.examples["all"] = [*self.examples["fast"], *self.examples["slow"]]
        self.score = cache(self._score)

    def _sample(self, examples: Sequence[Example], count: int) -> list[Example]:
        return Random(self.settings.seed).sample(examples, min(count, len(examples)))

    def initial(self) -> Expert:
        """Returns the expert as it begins: its origin is subtracted, so it changes nothing yet."""
        with attached(self.base, [self.start], ByRequest(), origin=True) as banks:
            return replace(banks.experts()[0], card=self.start.card)

    def _score(self, kind: str) -> Mapping[str, Tensor]:
        """Returns the importance of every entry for one kind of examples."""
        return importance(self.base, self.start, self.examples[kind], max_length=self.settings.max_length)

    def regions(self, alpha: float = 1.0, beta: float = 1.0) -> Regions:
        """Returns the entries of System 1 alone, of System 2 alone, and of both."""
        return regions(self.score("fast"), self.score("slow"), self.theta, alpha, beta)

    def null_jaccard(self) -> float:
        """Returns how alike the regions of two halves of System 2 are, which differ by chance alone."""
        examples = self._sample(self.slow, 2 * self.measured)
        return regions(*null(self.base, self.start, examples, max_length=self.settings.max_length), self.theta).jaccard

    def mask(self, what: str, seed: int = 0) -> dict[str, Tensor]:
        """Returns the entries that are updated, as the head of this file writes them; `seed` is that of the draw."""
        kind, _, number = what.partition(" ")
        entries = {f"{n}|{k}": t for n, f in self.start.factors.items() for k, t in (("A", f.A_RI), ("B", f.B_OR))}
        if what == "all":
            return {name: torch.ones_like(entry, dtype=torch.bool) for name, entry in entries.items()}
        if kind == "random":
            return random(entries, share_of(self.mask(number)), seed=1000 * seed + number.startswith("beta"))
        try:
            share = float(number)
        except ValueError:
            kind, share = "", 0.0
        if kind == "theta":
            return most_important(self.score("all"), self.score("all"), share)
        if kind not in ("alpha", "beta"):
            raise Invalid(f"{what!r} are no entries; there are: all, theta T, alpha A, beta B, random MASK.")
        return self.regions(share, share).stages[kind == "beta"]
