"""Perplexity: how surprised a language model is by a page, per token; low is good.

CCNet, Wenzek et al. 2020, "CCNet: Extracting High Quality Monolingual Datasets from Web Crawl Data", arXiv:1911.00359, keeps
the third of web pages that a model of Wikipedia finds least surprising. exp(mean over tokens of -log p); the model is any
causal base. A page that repeats one line is not surprising at all: keep a range (20..200) where a corpus has such pages.
"""

import math
from collections.abc import Sequence
from typing import Any

from yosegi import bases
from yosegi.scores import Score, Values
from yosegi.scores._nats import nats, windows


class Perplexity(Score):
    """Args:
    base: a base, as `--base` names it.
    windows: of the model's context that are read of a long page, spread evenly over it.
    """

    name = "perplexity"
    best = "low"

    def __init__(self, base: str, windows: int = 4):
        self.base, self.windows = bases.load(base), windows

    def of(self, texts: Sequence[str]) -> Values:
        """One perplexity a text; None of an empty one."""
        cut = [windows(self.base, text, self.windows) for text in texts]
        spent = iter(nats(self.base, [piece for pieces in cut for piece in pieces]))
        found: Values = []
        for pieces in cut:
            total, tokens = sum(next(spent) for _ in pieces), sum(map(len, pieces))
            found.append(math.exp(min(total / tokens, 700)) if tokens else None)
        return found

    def about(self) -> dict[str, Any]:
        """The model, by its hash."""
        return {"name": self.name, "base": self.base.name, "base_hash": self.base.hash, "windows": self.windows}
