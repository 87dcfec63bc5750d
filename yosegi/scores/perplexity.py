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
from yosegi.scores._windows import window_logprobs, windows


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
        pages = [windows(self.base, text, self.windows) for text in texts]
        logprobs = iter(window_logprobs(self.base, [piece for pieces in pages for piece in pieces]))
        values: Values = []
        for pieces in pages:
            total, tokens = sum(next(logprobs) for _ in pieces), sum(map(len, pieces))
            values.append(math.exp(min(-total / tokens, 700)) if tokens else None)
        return values

    def about(self) -> dict[str, Any]:
        """The model, by its hash."""
        return {"name": self.name, "base": self.base.name, "base_hash": self.base.hash, "windows": self.windows}
