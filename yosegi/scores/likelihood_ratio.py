"""Likelihood ratio: how much likelier a page is to a model that has learnt the domain than to the base, in nats per token.

Moore and Lewis 2010, "Intelligent Selection of Language Model Training Data", https://aclanthology.org/P10-2041, take the
sentences with the lowest difference of cross-entropies, H_domain(s) - H_general(s); this is its negative, so high is good:

    score = 1/T Σ_t log p_domain(x_t | x_<t) - log p_base(x_t | x_<t)

The difference cancels what makes every model wonder, such as names and numbers. The domain's model is an expert of a library
(a folder, LIBRARY/NAME) beside its base, or a whole model with the tokenizer of the base.
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
from yosegi.scores._windows import window_logprobs, windows


class LikelihoodRatio(Score):
    """Args:
    domain: an expert's folder, or a model by its folder or Hub id.
    base: what the domain's model is compared with, as `--base` names it.
    windows: of the model's context that are read of a long page, spread evenly over it.
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
                raise Invalid(f"{domain} and {base} have different tokenizers, so no token can be compared.")

    def of(self, texts: Sequence[str]) -> Values:
        """One difference a text; None of an empty one."""
        pages = [windows(self.base, text, self.windows) for text in texts]
        pieces = [piece for page in pages for piece in page]
        domain = iter(window_logprobs(self._adapted, pieces))
        with nullcontext() if self._banks is None else self._banks.disabled():
            general = iter(window_logprobs(self.base, pieces))
        values: Values = []
        for page in pages:
            gain, tokens = sum(next(domain) - next(general) for _ in page), sum(map(len, page))
            values.append(gain / tokens if tokens else None)
        return values

    def about(self) -> dict[str, Any]:
        """Both models, by their hashes."""
        return {
            "name": self.name, "base": self.base.name, "base_hash": self.base.hash,
            "domain": self.domain, "domain_hash": self._mark, "windows": self.windows,
        }  # fmt: skip
