"""Log-likelihoods of the tokens of prompts under the arms that answer them: prompts of many arms in one flat row.

The numbers are those of score.py, which reads rows of one arm; here the switch tells the layers whose token each one is. What a
model would write next comes from the same pass, so a prompt that is only to be scored is read once.

Shapes: X tokens of a row, N of a prompt, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from yosegi.bases import Base
from yosegi.engine.request import Request, SetBatch, TokenLogProb, logprobs_of, scores
from yosegi.errors import NotFinite
from yosegi.objectives import logits_at

TOKENS = 1024
"""Tokens of a row; a longer prompt is a row of its own."""
LOGITS = 2**26
"""The most logits in memory at once."""


def rows(requests: Sequence[Request], apart: bool) -> Iterator[list[Request]]:
    """Yields which prompts are read together: those of about `TOKENS` tokens, or each alone.

    Args:
        requests: they are read in order.
        apart: whether the model keeps the documents of a row apart (`packing.keeps_apart`).
    """
    row: list[Request] = []
    for request in requests:
        if row and (not apart or sum(len(one.ids) for one in row) + len(request.ids) > TOKENS):
            yield row
            row = []
        row.append(request)
    if row:
        yield row


@torch.no_grad()
def read(base: Base, row: Sequence[Request], set_batch: SetBatch, most: int) -> list[list[TokenLogProb]]:
    """Returns log p of the tokens of each prompt but the first, and writes one token of every answer (`Completion.push`).

    Args:
        base: the model, with the experts of the switch attached; not within `Decoder.ready`.
        row: prompts that are read together.
        set_batch: of the switch.
        most: of each token, so many of the likeliest are returned too.

    Raises:
        NotFinite: the logits of a prompt are not.
    """
    model: Any = base.model
    lengths = torch.tensor([len(request.ids) for request in row])
    ids_X = torch.tensor([token for request in row for token in request.ids], device=model.device)
    position_X = torch.cat([torch.arange(int(n)) for n in lengths]).to(model.device)
    set_batch(row, torch.repeat_interleave(torch.arange(len(row)), lengths).to(model.device), None)
    inputs: dict[str, Any] = {"input_ids": ids_X[None], "use_cache": False}
    if len(row) > 1:
        inputs["position_ids"] = position_X[None]
    V, found = model.get_input_embeddings().weight.shape[0], list[TokenLogProb]()
    last, ends = {}, (lengths.cumsum(0) - 1).tolist()
    following_X = torch.cat([ids_X[1:], ids_X[:1]])  # of a last token it means nothing
    for place_X in torch.arange(len(ids_X), device=model.device).split(max(1, LOGITS // V)):
        logits_XV = logits_at(model, place_X, **inputs).float()
        if not logits_XV.isfinite().all():
            raise NotFinite(
                f"The logits of {base.name} are not finite: its weights, or those of an expert, are damaged."
            )
        found += logprobs_of(logits_XV, following_X[place_X], most)
        last |= {end: logits_XV[end - int(place_X[0])].clone() for end in ends if place_X[0] <= end <= place_X[-1]}
    completions = [completion for request in row for completion in request.completions]
    per_answer = [last[end] for end, request in zip(ends, row, strict=True) for _ in request.completions]
    score_BV = scores(torch.stack(per_answer), completions)
    for completion, token in zip(completions, score_BV.argmax(-1).tolist(), strict=True):
        completion.push(token)
    return [found[end - len(request.ids) + 1 : end] for end, request in zip(ends, row, strict=True)]
