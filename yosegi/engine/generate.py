"""Answers to prompts, greedy or sampled. The model decides which loop runs them (decode.py, plain.py)."""

import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Unpack

import torch
from torch import Tensor

from yosegi.bases import Base
from yosegi.core.model import Banks
from yosegi.engine.chat import Prompt, ask
from yosegi.engine.request import Options, Request, SetBatch, Stop
from yosegi.engine.rows import context_length, encode_prompts, pad_id, start_of_text

ROWS = 128
"""The most answers that run at a time."""


class Answer(NamedTuple):
    """One answer.

    Args:
        text: what was written, up to the first stop string.
        truncated: whether the limit cut it off: neither a token that ends a text nor a stop string came in time.
        close_calls: steps whose two best tokens were so near that another batch might have chosen the other (request.MARGIN).
    """

    text: str
    truncated: bool
    close_calls: int = 0


def generate(
    base: Base,
    prompts: Sequence[Prompt],
    *,
    banks: Banks | None = None,
    known: Mapping[str, Any] | None = None,
    rows: int = ROWS,
    advance: Callable[[int], None] = lambda n: None,
    **options: Unpack[Options],
) -> list[Answer]:
    """Returns what the model writes after each prompt, up to an end-of-text token, a stop string or the limit.

    Args:
        base: the model, with or without attached experts.
        prompts: texts; the answers come in their order, the `n` of one prompt next to each other.
        banks: of the attached experts; `set_batch` is called on them for each batch.
        known: what the routers may know of each prompt, by argument of `Banks.set_batch`.
        rows: the most answers that run at a time.
        advance: called with the number of prompts done.
        options: see `Options`.
    """
    requests = requests_for(base, prompts, known, **options)
    for _ in run(base, requests, batch_setter(banks), rows):
        advance(1)
    return answers(requests)


def requests_for(
    base: Base, prompts: Sequence[Prompt], known: Mapping[str, Any] | None = None, **options: Unpack[Options]
) -> list[Request]:
    """Returns a request for each prompt, cut to what the model can look at."""
    most, room = rooms(base, options.pop("max_new_tokens", 256))
    stop = Stop(base, options.pop("stop", ()))
    return [
        Request(ids, stop, most, number=number, known=_about(known, number), **options)  # type: ignore[misc]
        for number, ids in enumerate(tokens(base, prompts, room))
    ]


def answers(requests: Sequence[Request]) -> list[Answer]:
    """Returns the answers to the requests, those to one prompt next to each other."""
    return [Answer(c.text, c.reason == "length", c.close_calls) for request in requests for c in request.completions]


def sample(
    base: Base,
    ids: Sequence[list[int]],
    seeds: Sequence[int | str],
    *,
    n: int,
    max_new_tokens: int,
    temperature: float = 1.0,
    banks: Banks | None = None,
    known: Mapping[str, Any] | None = None,
    rows: int = 1024,
) -> list[list[int]]:
    """Returns the tokens of `n` draws after each prompt, those of one prompt next to each other, each with its end-of-text token.

    Args:
        base: the model, with or without attached experts.
        ids: the prompts' tokens.
        seeds: one for each prompt.
        n: draws for each prompt.
        max_new_tokens: the limit.
        temperature: above 1 flattens the distribution, below 1 sharpens it.
        banks: of the attached experts; `set_batch` is called on them for each batch.
        known: what the routers may know of each prompt, by argument of `Banks.set_batch`.
        rows: the most answers that run at a time.
    """
    ends = Stop(base)
    requests = [
        Request(prompt, ends, max_new_tokens, temperature, seed=seed, n=n, number=number, known=_about(known, number))
        for number, (prompt, seed) in enumerate(zip(ids, seeds, strict=True))
    ]
    for _ in run(base, requests, batch_setter(banks), rows):
        pass
    return [completion.ids for request in requests for completion in request.completions]


def run(
    base: Base, requests: Sequence[Request], set_batch: SetBatch | None = None, rows: int = ROWS
) -> Iterator[Request]:
    """Answers all requests by the loop that this model allows, longest prompts first, and yields each when it is done."""
    longest_first = sorted(requests, key=lambda request: -len(request.ids))
    if not requests:
        return iter(())
    if why_not_paged(base.model):
        from yosegi.engine import plain

        return plain.run(base, longest_first, rows, set_batch)
    from yosegi.engine.decode import Decoder  # importing transformers' loop takes a second

    return Decoder.sized(base, requests, rows, set_batch).run(longest_first)


def loop_of(folder: str) -> str:
    """Returns in words which loop answers for the model in a folder; its weights are not read."""
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig

    config = AutoConfig.from_pretrained(folder)
    kind = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None)
    why = "it is no causal language model" if kind is None else why_not_paged(kind, config)
    return f"plain batches: {why}" if why else "continuous batching"


def why_not_paged(model: Any, whole: Any = None) -> str:
    """Returns why this model, or class of models with a config, cannot decode on a paged cache; "" where it can."""
    whole = whole or model.config
    config = whole.get_text_config()
    if config.is_encoder_decoder:
        return "it is an encoder-decoder"
    if config is not whole:
        return "it looks at more than text"
    if model._is_stateful:
        return "it keeps a state instead of keys and values"
    if not model._supports_attention_backend:
        return "its attention has no exchangeable part"
    if kinds := set(getattr(config, "layer_types", None) or ()) - {"full_attention", "sliding_attention"}:
        return f"it has layers of {min(kinds)}"
    return ""


def batch_setter(banks: Banks | None) -> SetBatch | None:
    """Returns the function that tells the routers what is known of the prompts of each batch."""
    if banks is None:
        return None

    def tell(requests: Sequence[Request], row_X: Tensor | None, mask_BT: Tensor | None) -> None:
        values = {what: [request.known[what] for request in requests] for what in requests[0].known}
        known: dict[str, Any] = {what: torch.stack(v) if isinstance(v[0], Tensor) else v for what, v in values.items()}
        banks.set_batch(row_X=row_X, mask_BT=mask_BT, **known)

    return tell


def settings(stop_ids: Collection[int]) -> dict[str, Any]:
    """Returns how answers are decoded, beyond what a task asks for: part of the fingerprint of a measurement."""
    return {"temperature": 0.0, "stop_ids": sorted(stop_ids)}


def tokens(base: Base, prompts: Sequence[Prompt], room: int = sys.maxsize) -> list[list[int]]:
    """Returns the tokens of prompts, in the base's chat template if it has one: at most `room` and at least one."""
    texts = [ask(base, prompt) for prompt in prompts]
    return [ids or start_of_text(base) or [pad_id(base)] for ids in encode_prompts(base, texts, room)]


def of(known: Mapping[str, Any] | None, chosen: Sequence[int]) -> dict[str, Any]:
    """Returns the part of `known` that is about the chosen sequences."""
    return {
        what: values[list(chosen)] if isinstance(values, torch.Tensor) else [values[i] for i in chosen]
        for what, values in (known or {}).items()
    }


def _about(known: Mapping[str, Any] | None, i: int) -> dict[str, Any]:
    return {what: values[i] for what, values in (known or {}).items()}


def rooms(base: Base, max_new_tokens: int) -> tuple[int, int]:
    """Returns how many tokens an answer and its prompt may have; an answer gets at most half of the context."""
    context = context_length(base)
    new = min(max_new_tokens, context // 2)
    return new, context - new
