"""Batched generation: greedy answers, and answers drawn at a temperature. Longest prompts together, padded on the left.

Shapes: B sequences, T tokens, V vocabulary.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from yosegi.bases import Base
from yosegi.core.model import Banks
from yosegi.engine.rows import context_length, encode_prompts, pad_id, start_of_text


class Answer(NamedTuple):
    """What was written, and whether the limit cut it off: neither the end-of-text token nor a stop string came in time."""

    text: str
    truncated: bool


def generate(base: Base, prompts: Sequence[str], **how: Any) -> list[str]:
    """The texts of `answer`, which takes the same arguments."""
    return [written.text for written in answer(base, prompts, **how)]


@torch.no_grad()
def answer(
    base: Base,
    prompts: Sequence[str],
    *,
    max_new_tokens: int,
    stop: Sequence[str] = (),
    banks: Banks | None = None,
    known: Mapping[str, Any] | None = None,
    batch_size: int = 64,
    advance: Callable[[int], None] = lambda n: None,
) -> list[Answer]:
    """What the model writes after each prompt, up to the end-of-text token, a stop string or the limit.

    Args:
        base: the model, with or without experts in it.
        prompts: in any order; answers come back in the same one.
        max_new_tokens: the limit; half of what the model can look at, if that is less.
        stop: strings that end an answer, and are cut off.
        banks: told about each batch, when there are experts.
        known: what the routers may know of each prompt, by argument of `Banks.set_batch`.
        batch_size: sequences at a time.
        advance: called with the number of prompts done.
    """
    tokenizer = base.tokenizer
    max_new_tokens, room = rooms(base, max_new_tokens)
    ids = [row or start_of_text(base) for row in encode_prompts(base, prompts, room)]
    order = sorted(range(len(ids)), key=lambda i: -len(ids[i]))
    answers = [Answer("", False)] * len(ids)
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        ids_BT, mask_BT = _padded(base, [ids[i] for i in chosen])
        if banks is not None:
            banks.set_batch(mask_BT=mask_BT, **of(known, chosen))
        new_BT = _run(base, ids_BT, mask_BT, max_new_tokens)
        ended_B = (new_BT == tokenizer.eos_token_id).any(-1).tolist()
        texts = tokenizer.batch_decode(new_BT, skip_special_tokens=True)
        for i, text, ended in zip(chosen, texts, ended_B, strict=True):
            kept = cut(text, stop)
            answers[i] = Answer(kept, not ended and kept == text)
        advance(len(chosen))
    return answers


class Draw(NamedTuple):
    """So many rows in a row that draw from one generator: what they draw does not depend on who else is in the batch."""

    seed: int
    rows: int


@torch.no_grad()
def sample(
    base: Base,
    ids: Sequence[list[int]],
    draws: Sequence[Draw],
    *,
    max_new_tokens: int,
    temperature: float = 1.0,
    banks: Banks | None = None,
    known: Mapping[str, Any] | None = None,
    batch_size: int = 1024,
) -> list[list[int]]:
    """The tokens that the model draws after each prompt; the end-of-text token is the last of those that ended in time.

    The largest logit plus Gumbel noise is a draw from the softmax (Gumbel 1954), so each group of rows has noise of its own.

    Args:
        base: the model, with or without experts in it.
        ids: the prompts' tokens.
        draws: whose noise, in the order of the prompts; their rows add up to all.
        max_new_tokens: the limit.
        temperature: above 1 more at random, below 1 less.
        banks: told about each batch, when there are experts.
        known: what the routers may know of each prompt, by argument of `Banks.set_batch`.
        batch_size: sequences at a time, rounded up to whole groups.
    """
    found: list[list[int]] = []
    start = first = 0
    while first < len(draws):
        last, rows = first, 0
        while last < len(draws) and (rows == 0 or rows + draws[last].rows <= batch_size):
            rows, last = rows + draws[last].rows, last + 1
        chosen = range(start, start + rows)
        ids_BT, mask_BT = _padded(base, [ids[i] for i in chosen])
        if banks is not None:
            banks.set_batch(mask_BT=mask_BT, **of(known, chosen))
        noisy = _Noisy(draws[first:last], temperature, ids_BT.device)
        for row in _run(base, ids_BT, mask_BT, max_new_tokens, logits_processor=[noisy]).tolist():
            end = row.index(base.tokenizer.eos_token_id) + 1 if base.tokenizer.eos_token_id in row else len(row)
            found.append(row[:end])
        start, first = start + rows, last
    return found


class _Noisy:
    """Logits with the noise of each group."""

    def __init__(self, draws: Sequence[Draw], temperature: float, device: torch.device):
        self.temperature = temperature
        self.noise = [(torch.Generator(device).manual_seed(draw.seed), draw.rows) for draw in draws]

    def __call__(self, _: Tensor, logits_BV: Tensor) -> Tensor:
        V, device = logits_BV.shape[1], logits_BV.device
        each = [torch.empty(rows, V, device=device).exponential_(generator=own) for own, rows in self.noise]
        return logits_BV.float() / self.temperature - torch.cat(each).log()


def _padded(base: Base, rows: Sequence[list[int]]) -> tuple[Tensor, Tensor]:
    """Ids and mask [B, T] on the model's device: a decoder's on the right, an encoder counts places from the left."""
    longest = max(map(len, rows))
    ids_BT = torch.full((len(rows), longest), pad_id(base))
    mask_BT = torch.zeros_like(ids_BT)
    for b, row in enumerate(rows):
        place = slice(0, len(row)) if base.seq2seq else slice(longest - len(row), longest)
        ids_BT[b, place], mask_BT[b, place] = torch.tensor(row), 1
    device = next(base.model.parameters()).device
    return ids_BT.to(device), mask_BT.to(device)


def _run(base: Base, ids_BT: Tensor, mask_BT: Tensor, max_new_tokens: int, **more: Any) -> Tensor:
    """What is new [B, T]."""
    out_BT = base.model.generate(  # type: ignore[operator]
        input_ids=ids_BT,
        attention_mask=mask_BT,
        max_new_tokens=max_new_tokens,
        do_sample=False,
        num_beams=1,
        pad_token_id=pad_id(base),
        eos_token_id=base.tokenizer.eos_token_id,
        **more,
    )
    return out_BT[
        :, 1 if base.seq2seq else ids_BT.shape[1] :
    ]  # a decoder behind an encoder begins with a token of its own


def of(known: Mapping[str, Any] | None, chosen: Sequence[int]) -> dict[str, Any]:
    """The part of it that is about some of the sequences."""
    return {
        what: values[list(chosen)] if isinstance(values, torch.Tensor) else [values[i] for i in chosen]
        for what, values in (known or {}).items()
    }


def cut(text: str, stop: Sequence[str]) -> str:
    """The text before the first stop string."""
    for string in stop:
        text = text.split(string, 1)[0]
    return text


def rooms(base: Base, max_new_tokens: int) -> tuple[int, int]:
    """How many tokens an answer may have, and how many its prompt: of a short context the answer gets half at most."""
    context = context_length(base)
    new = min(max_new_tokens, context // 2)
    return new, context - new
