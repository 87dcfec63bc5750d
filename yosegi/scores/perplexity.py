"""Perplexity: exp(mean over tokens of -log p) under a causal base; low is good.

CCNet, Wenzek et al. 2020, "CCNet: Extracting High Quality Monolingual Datasets from Web Crawl Data", arXiv:1911.00359, keeps the
third of web pages with the lowest perplexity under a model of Wikipedia. A page that repeats one line has a very low perplexity:
keep a range (20..200) where a corpus has such pages.
"""

import math
from collections.abc import Sequence
from typing import Any

from yosegi import bases
from yosegi.scores import Score, Values
from yosegi.scores._windows import mean_of_pages, window_logprobs, windows


class Perplexity(Score):
    """Args:
    base: a base, as `--base` names it.
    windows: the most windows of a page that are read, spread evenly over it.
    """

    name = "perplexity"
    best = "low"

    def __init__(self, base: str, windows: int = 4):
        self.base, self.windows = bases.load(base), windows

    def of(self, texts: Sequence[str]) -> Values:
        """Returns a perplexity for each text; None for an empty one."""
        pages = [windows(self.base, text, self.windows) for text in texts]
        means = mean_of_pages(pages, lambda pieces: window_logprobs(self.base, pieces))
        return [None if mean is None else math.exp(min(-mean, 700)) for mean in means]

    def about(self) -> dict[str, Any]:
        """Returns the model by its hash."""
        return {"name": self.name, "base": self.base.name, "base_hash": self.base.hash, "windows": self.windows}
