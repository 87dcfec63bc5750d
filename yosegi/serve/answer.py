"""An answer on its way to a client: from the tokens that a job grows to OpenAI's JSON, whole or in pieces."""

import json
import math
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import torch

from yosegi.engine.pieces import Pieces
from yosegi.engine.request import Completion, TokenLogProb
from yosegi.errors import LENGTH, printable
from yosegi.serve.job import Job

LEAST = -9999.0
"""Stands for -∞, which JSON does not have."""
REASONS = {"stop": "stop", "length": "length"}
"""`Completion.reason` -> finish_reason; an answer that was ended half way has its length."""


class Tokens:
    """The texts of single tokens, as log-likelihoods and routing show them.

    Args:
        tokenizer: of the base.
    """

    def __init__(self, tokenizer: Any):
        self.text = lru_cache(maxsize=65536)(lambda token: tokenizer.decode([token]))


class Choice:
    """One answer, as far as it has been sent."""

    def __init__(self, answer: "Answer", place: int, k: int):
        request = answer.job.requests[place]
        self.answer, self.place, self.k = answer, place, k
        self.index, self.seen, self.offset, self.ended = place * request.n + k, 0, 0, False
        self.pieces, self.begun = Pieces(request.stop), False

    @property
    def completion(self) -> Completion:
        """The answer as it grows; another object after a step that was taken again."""
        return self.answer.job.requests[self.place].completions[self.k]

    def next(self) -> dict[str, Any] | None:
        """Returns what is new as a choice of a chunk; None if there is nothing to say yet."""
        answer, completion = self.answer, self.completion
        if self.ended:
            return None
        if not self.begun and answer.job.echo is not None and self.place not in answer.job.scored:
            return None
        ended = answer.job.over or bool(completion.reason)
        count = len(completion.ids) if answer.job.over else answer.job.grown(completion)
        ended = ended and count >= len(completion.ids)
        if count <= self.seen and not ended:
            return None
        ids = [] if answer.job.silent else completion.ids[:count]
        start, self.seen = min(self.seen, len(ids)), max(count, self.seen)
        text = self.pieces.next(ids, ended)
        self.ended = ended
        extra: dict[str, Any] = {}
        if answer.logprobs is not None:
            extra["logprobs"] = answer.of_logprobs(self, ids, start)
        if answer.routing:
            extra["routing"] = answer.of_routing(completion, ids, start)
        if answer.echo and not self.begun:
            text = answer.echo[self.place] + text
        reason = (REASONS.get(completion.reason, "length") if not answer.job.silent else "length") if ended else None
        if not text and reason is None and not any(extra.values()):
            return None
        first, self.begun = not self.begun, True
        return answer.choice(self, text, reason, extra, first)


class Answer:
    """What one client is told.

    Args:
        job: its job.
        tokens: the texts of tokens.
        model: as the client called it.
        chat: whether it is a chat.
        logprobs: how many likeliest tokens are returned for each; None for no log-likelihoods.
        routing: False, True, or "layers".
        echo: the texts of the prompts, if they are returned.
        usage: whether a stream ends with the number of tokens.
    """

    def __init__(
        self, job: Job, tokens: Tokens, model: str, *, chat: bool, logprobs: int | None = None, routing: bool | str = False,
        echo: Sequence[str] = (), usage: bool = False,
    ):  # fmt: skip
        self.job, self.tokens, self.model, self.chat, self.logprobs = job, tokens, model, chat, logprobs
        self.routing, self.echo, self.with_usage = routing, echo, usage
        self.id = f"{'chatcmpl' if chat else 'cmpl'}-{secrets.token_hex(12)}"
        self.created = int(time.time())
        self.choices = [Choice(self, place, k) for place, request in enumerate(job.requests) for k in range(request.n)]

    @property
    def usage(self) -> dict[str, int]:
        """How many tokens were read and written."""
        read = sum(len(request.ids) for request in self.job.requests)
        written = sum(len(c.ids) for request in self.job.requests for c in request.completions) * (not self.job.silent)
        return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}

    def whole(self) -> bytes:
        """Returns the body of an answer that was not streamed."""
        self.streams = False
        choices = [choice.next() for choice in self.choices]
        kind = "chat.completion" if self.chat else "text_completion"
        return dumped({**self._head(kind), "choices": choices, "usage": self.usage})

    def chunks(self) -> Iterator[bytes]:
        """Yields what is new as server-sent events."""
        kind = "chat.completion.chunk" if self.chat else "text_completion"
        for choice in self.choices:
            while (new := choice.next()) is not None:
                for one in self._parts(new):
                    yield event({**self._head(kind), "choices": [one], **({"usage": None} if self.with_usage else {})})
                if choice.ended:
                    break
        if self.job.over and self.job.error is None:
            if self.with_usage:
                yield event({**self._head(kind), "choices": [], "usage": self.usage})
            yield b"data: [DONE]\n\n"

    streams = True

    def choice(
        self, choice: Choice, text: str, reason: str | None, extra: Mapping[str, Any], first: bool
    ) -> dict[str, Any]:
        """Returns one choice as its kind of answer has it."""
        if not self.chat:
            return {"index": choice.index, "text": text, "logprobs": None, "finish_reason": reason, **extra}
        if not self.streams:
            message = {"role": "assistant", "content": text, "refusal": None}
            return {"index": choice.index, "message": message, "logprobs": None, "finish_reason": reason, **extra}
        delta = {**({"role": "assistant"} if first else {}), "content": text}
        return {"index": choice.index, "delta": delta, "logprobs": None, "finish_reason": reason, **extra}

    def _parts(self, new: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Chats end with a chunk of their own, which has no text."""
        if not self.chat or new["finish_reason"] is None:
            yield new
            return
        yield {**new, "finish_reason": None}
        yield {"index": new["index"], "delta": {}, "logprobs": None, "finish_reason": new["finish_reason"]}

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}

    def of_logprobs(self, choice: Choice, ids: Sequence[int], start: int) -> dict[str, Any] | None:
        """Returns the log-likelihoods of the tokens from `start`, and of the prompt before the first."""
        written: list[TokenLogProb | None] = [*choice.completion.logprobs]
        known = list(zip(ids, written, strict=False))[start:]
        if self.echo and not choice.begun:
            prompt = self.job.requests[choice.place].ids
            scored: list[TokenLogProb | None] = [None, *self.job.scored[choice.place]]
            known = [*zip(prompt, scored, strict=True), *known]
        if not known:
            return None
        text = self.tokens.text
        if self.chat:
            return {"content": [self._of_token(token, one) for token, one in known if one is not None], "refusal": None}
        offsets: list[int] = []
        for token, _ in known:
            offsets.append(choice.offset)
            choice.offset += len(text(token))
        return {
            "tokens": [text(token) for token, _ in known],
            "token_logprobs": [None if one is None else _finite(one.logp) for _, one in known],
            "top_logprobs": [None if one is None else self._top(token, one) for token, one in known] if self.logprobs else None,
            "text_offset": offsets,
        }  # fmt: skip

    def _top(self, token: int, one: TokenLogProb) -> dict[str, float]:
        """The likeliest tokens by their texts, and the one that was taken; of two with the same text the likelier."""
        top: dict[str, float] = {}
        for other, logp in [*one.top[: self.logprobs], (token, one.logp)]:
            top.setdefault(self.tokens.text(other), _finite(logp))
        return top

    def _of_token(self, token: int, one: TokenLogProb) -> dict[str, Any]:
        top = [self._named(other, logp) for other, logp in one.top[: self.logprobs]]
        return {**self._named(token, one.logp), "top_logprobs": top}

    def _named(self, token: int, logp: float) -> dict[str, Any]:
        text = self.tokens.text(token)
        return {"token": text, "logprob": _finite(logp), "bytes": None if "\ufffd" in text else list(text.encode())}

    def of_routing(self, completion: Completion, ids: Sequence[int], start: int) -> dict[str, Any]:
        """Returns the weights of the experts at each token from `start`, averaged over the layers, and in each if asked for."""
        seat, found = self.job.seat, list[dict[str, Any]]()
        for token, weights_LE in zip(ids[start:], self.job.routing.get(completion, [])[start:], strict=False):
            one: dict[str, Any] = {"text": self.tokens.text(token), "weights": _rounded(_mean(weights_LE))}
            if self.routing == "layers":
                one["layers"] = dict(zip(seat.layers, _rounded(weights_LE), strict=True)) if seat.layers else {}
            found.append(one)
        return {"experts": [expert.name for expert in seat.experts], "tokens": found}


def dumped(value: Any) -> bytes:
    """Returns compact JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def event(value: Any) -> bytes:
    """Returns one server-sent event."""
    return b"data: " + dumped(value) + b"\n\n"


def fault(
    message: str, kind: str = "invalid_request_error", code: str | None = None, param: str | None = None
) -> dict[str, Any]:
    """Returns an error as OpenAI's API has it."""
    return {"error": {"message": printable(message)[:LENGTH], "type": kind, "param": param, "code": code}}


def _mean(weights_LE: torch.Tensor) -> torch.Tensor:
    return weights_LE.mean(0) if len(weights_LE) else weights_LE.flatten()


def _rounded(weights: torch.Tensor) -> Any:
    return weights.double().round(decimals=4).tolist()


def _finite(logp: float) -> float:
    return logp if math.isfinite(logp) else LEAST
