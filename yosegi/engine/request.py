"""One prompt that is being answered, by either loop: its limit, what ends it, and how its tokens are chosen.

A token is the largest logit, or a draw from softmax(logit / temperature): the largest logit plus Gumbel noise (Gumbel 1954).
Every answer has its own noise, so it does not depend on the rest of the batch. Of a checkpoint's generation settings only the
end-of-text tokens are read.

Shapes: B answers, V vocabulary.
"""

import copy
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypedDict

import torch
from torch import Tensor

from yosegi.bases import Base
from yosegi.engine.chat import Template, stop_strings
from yosegi.errors import Corrupt

MARGIN = 1e-4
"""If the two largest scores are closer than this, another batch may choose the other token; such steps are counted."""

LEAST = 2.0**-25
"""The least exponential noise: uniform numbers are multiples of 2^-24, and log 0 would choose any token."""


def stop_ids(base: Base) -> frozenset[int]:
    """Returns the tokens that end a text of this base."""
    model: Any = base.model
    return ending(base.tokenizer, model.config, model.generation_config, base.chat_template)


def ending(tokenizer: Any, config: Any, generation_config: Any = None, chat_template: str = "") -> frozenset[int]:
    """Returns the union of the end tokens of the tokenizer, its chat template and the checkpoint's two configurations."""
    sources = (tokenizer, config.get_text_config(), generation_config)
    ids = [getattr(source, "eos_token_id", None) for source in sources]
    turn = Template(tokenizer, chat_template).stop_ids if chat_template else frozenset()
    return turn | {i for given in ids if given is not None for i in (given if isinstance(given, list) else [given])}


def cut(text: str, stop: Sequence[str]) -> str:
    """Returns the text before the first stop string."""
    for string in stop:
        text = text.split(string, 1)[0]
    return text


class Stop:
    """What ends an answer: an end-of-text token or a stop string.

    Args:
        base: the model and its tokenizer.
        strings: the stop strings.
    """

    def __init__(self, base: Base, strings: Sequence[str] = ()):
        self.ids, self.decode = stop_ids(base), base.tokenizer.decode
        self._at(stop_strings(base, strings))

    def at(self, strings: Sequence[str]) -> "Stop":
        """Returns the same with these stop strings, all of which apply; what ends a text of the base is not worked out again."""
        other = copy.copy(self)
        other._at(tuple(strings))
        return other

    def _at(self, strings: tuple[str, ...]) -> None:
        self.strings, self._suspects = strings, dict[int, bool]()
        self._reach = 8 + 4 * max(map(len, strings), default=0)  # a character may take four tokens

    def text(self, ids: Sequence[int]) -> str:
        """Returns the text of an answer, up to the first stop string."""
        return cut(self.decode(ids, skip_special_tokens=True), self.strings)

    def settled(self, ids: Sequence[int]) -> str:
        """Returns the part of the text that no later token can change: no half characters, no beginning of a stop string."""
        return self.without_beginning(self.text(ids).rstrip("\ufffd"))

    def without_beginning(self, text: str) -> str:
        """Returns a text without what may be the beginning of a stop string at its end."""
        begun = [n for string in self.strings for n in range(1, len(string)) if text.endswith(string[:n])]
        return text[: len(text) - max(begun, default=0)]

    def ends(self, ids: Sequence[int]) -> bool:
        """Returns whether an answer ends with its last token. Its end is decoded only if that token may complete a string."""
        if ids[-1] in self.ids:
            return True
        if not self.strings or not self._may_complete(ids[-1]):
            return False
        text = self.decode(ids[-self._reach :], skip_special_tokens=True)
        return any(string in text for string in self.strings)

    def _may_complete(self, token: int) -> bool:
        if token not in self._suspects:
            piece = self.decode([token])  # half a character, or a space that the decoder strips, may complete one too
            self._suspects[token] = "\ufffd" in piece or any(s[-1] in piece or s[-1].isspace() for s in self.strings)
        return self._suspects[token]


class Options(TypedDict, total=False):
    """How a prompt is answered; by default greedily, up to the limit.

    Args:
        max_new_tokens: the limit; half of what the model can look at, if that is less.
        stop: strings that end an answer, and are cut off.
        temperature: 0 takes the likeliest token; above 0 tokens are drawn from softmax(logit / temperature).
        top_p: draw from the likeliest tokens that together have this probability.
        top_k: draw from this many of the likeliest tokens; 0 for all.
        seed: seed of the draws, which do not depend on the rest of the batch.
        n: answers to each prompt; the prompt is read once.
    """

    max_new_tokens: int
    stop: Sequence[str]
    temperature: float
    top_p: float
    top_k: int
    seed: int | str
    n: int


@dataclass(eq=False)
class Request:
    """A prompt that is being answered.

    Args:
        ids: its tokens, at least one.
        stop: what ends an answer.
        max_new_tokens: see `Options`; so are temperature, top_p, top_k, seed and n.
        number: place among the requests of one call.
        known: what the routers may know of it, by argument of `Banks.set_batch`.
        seat: the arm that answers it, where arms differ (switch.py).
        listen: called with each answer whenever it has a new token.
        logprobs: log p of each token is kept, with those of this many of the likeliest; None keeps nothing.
        routing: whether the weights of the arm's experts are kept for each token (`Switch.routing`).
        survives: whether logits that are not finite end this request alone (`reason` is "failed"), and not the whole batch.
    """

    ids: list[int]
    stop: Stop
    max_new_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int | str = 0
    n: int = 1
    number: int = 0
    known: Mapping[str, Any] = field(default_factory=dict)
    seat: Any = None
    listen: Callable[["Completion"], None] | None = None
    logprobs: int | None = None
    routing: bool = False
    survives: bool = False
    completions: list["Completion"] = field(init=False)

    def __post_init__(self):
        self.completions = [Completion(self, k) for k in range(self.n)]

    def __deepcopy__(self, memo: Any) -> "Request":
        return self

    @property
    def done(self) -> bool:
        """Whether all its answers have ended."""
        return all(completion.reason for completion in self.completions)


class TokenLogProb(NamedTuple):
    """log p of a token under the model as it is (temperature 1), and the likeliest tokens with theirs, in order."""

    logp: float
    top: Sequence[tuple[int, float]]


class Completion:
    """One answer to a request, token by token. The token that ends a text is its last."""

    def __init__(self, request: Request, k: int):
        self.request, self.k, self.ids, self.reason, self.close_calls = request, k, list[int](), "", 0
        self.logprobs: list[TokenLogProb] = []  # of each token, where the request asks for them
        self._noise: torch.Generator | None = None

    @property
    def text(self) -> str:
        """The text of the answer, up to the first stop string."""
        return self.request.stop.text(self.ids)

    def push(self, token: int) -> bool:
        """Appends a token. Returns whether the answer ends with it; `reason` then says why."""
        if self.reason:  # it has failed
            return True
        self.ids.append(token)
        if self.request.stop.ends(self.ids):
            self.reason = "stop"
        elif len(self.ids) >= self.request.max_new_tokens:
            self.reason = "length"
        if self.request.listen:
            self.request.listen(self)
        return bool(self.reason)

    def uniform(self, out_V: Tensor) -> None:
        """Fills a row with the next numbers from [0, 1) of this answer."""
        if self._noise is None:
            name = hashlib.blake2b(f"{self.request.seed}/{self.k}".encode(), digest_size=4).digest()
            self._noise = torch.Generator(out_V.device).manual_seed(int.from_bytes(name, "little"))
        out_V.uniform_(generator=self._noise)


SetBatch = Callable[[Sequence[Request], Tensor | None, Tensor | None], None]
"""Tells the routers about a batch before it runs: its requests, one per row, and row_X (the row of each token) or mask_BT."""


def scores(logits_BV: Tensor, completions: Sequence[Completion]) -> Tensor:
    """Returns the scores whose largest entry is the next token, a row for each answer: logits, plus noise for sampled answers.

    Raises:
        Corrupt: the logits are not finite.
    """
    score_BV = logits_BV.float()
    rows = [b for b, completion in enumerate(completions) if completion.request.temperature > 0]
    if rows:
        drawing = [completions[b].request for b in rows]
        drawn_BV = score_BV[rows] / score_BV.new_tensor([request.temperature for request in drawing])[:, None]
        if any(request.top_k or request.top_p < 1 for request in drawing):
            drawn_BV = _likeliest(drawn_BV, drawing)
        noise_BV = torch.empty_like(drawn_BV)
        for noise_V, b in zip(noise_BV, rows, strict=True):
            completions[b].uniform(noise_V)
        noise_BV = noise_BV.neg_().log1p_().neg_().clamp_min_(LEAST)  # exponential; torch draws these one by one
        score_BV = score_BV.index_copy(0, torch.tensor(rows, device=score_BV.device), drawn_BV - noise_BV.log_())
    best_B2 = score_BV.topk(2).values
    if not (finite_B := best_B2[:, 0].isfinite()).all():
        failed = [completions[b] for b in (~finite_B).nonzero()[:, 0].tolist()]
        if not all(completion.request.survives for completion in failed):
            raise Corrupt("The model's logits are not finite: its weights, or those of an expert, are damaged.")
        for completion in failed:
            completion.reason = "failed"
        score_BV = score_BV.masked_fill(~finite_B[:, None], 0.0)
    if asked := [b for b, c in enumerate(completions) if c.request.logprobs is not None and not c.reason]:
        _keep_logprobs(logits_BV[asked].float(), score_BV[asked].argmax(-1), [completions[b] for b in asked])
    for completion, margin in zip(completions, (best_B2[:, 0] - best_B2[:, 1]).tolist(), strict=True):
        completion.close_calls += margin < MARGIN
    return score_BV


def _keep_logprobs(logits_BV: Tensor, token_B: Tensor, completions: Sequence[Completion]) -> None:
    most = max(completion.request.logprobs or 0 for completion in completions)
    for completion, kept in zip(completions, logprobs_of(logits_BV, token_B, most), strict=True):
        completion.logprobs.append(TokenLogProb(kept.logp, kept.top[: completion.request.logprobs]))


def logprobs_of(logits_BV: Tensor, token_B: Tensor, most: int) -> list[TokenLogProb]:
    """Returns log p of a token after each row of logits, with those of the `most` likeliest."""
    logp_BV = logits_BV.log_softmax(-1)
    own_B = logp_BV.gather(-1, token_B[:, None])[:, 0].tolist()
    best = logp_BV.topk(min(most, logp_BV.shape[1]))
    tops = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return [TokenLogProb(own, list(zip(*top, strict=True))) for own, top in zip(own_B, tops, strict=True)]


def _likeliest(logit_BV: Tensor, requests: Sequence[Request]) -> Tensor:
    """Returns the logits with -∞ for tokens outside top_k and top_p. The likeliest token always stays."""
    V = logit_BV.shape[1]
    sorted_BV, order_BV = logit_BV.sort(-1, descending=True)
    k_B = torch.tensor([request.top_k or V for request in requests], device=logit_BV.device)
    p_B = torch.tensor([request.top_p for request in requests], device=logit_BV.device)
    sorted_BV = sorted_BV.masked_fill(torch.arange(V, device=logit_BV.device) >= k_B[:, None], -torch.inf)
    share_BV = sorted_BV.softmax(-1)
    before_BV = share_BV.cumsum(-1) - share_BV
    sorted_BV = sorted_BV.masked_fill((before_BV >= p_B[:, None]) & (p_B < 1)[:, None], -torch.inf)
    return torch.empty_like(logit_BV).scatter(-1, order_BV, sorted_BV)
