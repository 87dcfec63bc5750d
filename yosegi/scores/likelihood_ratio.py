"""Likelihood ratio: the log-likelihood of a page under a model of the domain minus that under the base, in nats per token.

Moore and Lewis 2010, "Intelligent Selection of Language Model Training Data", https://aclanthology.org/P10-2041, take the
sentences with the lowest difference of cross-entropies, H_domain(s) - H_general(s); this is its negative, so high is good:

    score = 1/T Σ_t log p_domain(x_t | x_<t) - log p_base(x_t | x_<t)

The difference cancels what is unlikely for every model, such as names and numbers. The domain's model is an expert of a library
(a folder, LIBRARY/NAME) attached to its base, or a whole model with the tokenizer of the base.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from yosegi import bases, registry
from yosegi.core.model import attach
from yosegi.errors import Invalid
from yosegi.library.store import Library
from yosegi.scores import Score, Values
from yosegi.scores._windows import mean_of_pages, window_logprobs, windows


class LikelihoodRatio(Score):
    """Args:
    domain: an expert's folder, or a model by its folder or Hub id.
    base: the base that it is compared with, as `--base` names it.
    windows: the most windows of a page that are read, spread evenly over it.
    """

    name = "likelihood_ratio"

    def __init__(self, domain: str, base: str, windows: int = 4):
        self.base, self.windows, self.domain = bases.load(base), windows, domain
        self._banks: Any = None
        if (Path(domain) / "adapter_config.json").is_file():
            folder = Path(domain)
            expert = Library(folder.parent, self.base.hash, self.base.name)[folder.name]
            self._mark = str(expert.card.get("sha256"))
            self._banks = attach(self.base.model, [expert], registry.find("routers", "uniform")())
            self.base.model.eval()
            self._adapted = self.base
        else:
            self._adapted = bases.load(domain)
            self._mark = self._adapted.hash
            if self._adapted.tokenizer.get_vocab() != self.base.tokenizer.get_vocab():
                raise Invalid(
                    f"{domain} and {base} have different tokenizers, so their likelihoods cannot be compared."
                )

    def of(self, texts: Sequence[str]) -> Values:
        """Returns a difference for each text; None for an empty one."""

        def gains(pieces: list[list[int]]) -> list[float]:
            domain = window_logprobs(self._adapted, pieces)
            with nullcontext() if self._banks is None else self._banks.disabled():
                general = window_logprobs(self.base, pieces)
            return [one - other for one, other in zip(domain, general, strict=True)]

        return mean_of_pages([windows(self.base, text, self.windows) for text in texts], gains)

    def about(self) -> dict[str, Any]:
        """Returns both models by their hashes."""
        return {
            "name": self.name, "base": self.base.name, "base_hash": self.base.hash,
            "domain": self.domain, "domain_hash": self._mark, "windows": self.windows,
        }  # fmt: skip
