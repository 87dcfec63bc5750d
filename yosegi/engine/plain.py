"""The batched loop for models without a paged cache: encoder-decoders, Mamba, RWKV and hybrids, by transformers' `generate`.

Requests and choices of tokens are those of request.py; only the loop differs. Prompts are padded on the left, those of an encoder
on the right. Padding would enter the state of a recurrent model, so its batches have prompts of one length. A finished answer
stays in its batch until the last one is finished.

Shapes: B answers, T tokens, V vocabulary.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig

from yosegi.bases import Base
from yosegi.engine.request import Completion, Request, SetBatch, scores
from yosegi.engine.rows import pad_id

ALONE = {"rwkv"}
"""Kinds of models that answer one prompt at a time: transformers 5.23 mixes up the states of a batch when it reads one token."""


@torch.no_grad()
def run(base: Base, requests: Iterable[Request], rows: int, set_batch: SetBatch | None = None) -> Iterator[Request]:
    """Answers all requests and yields each when it is done.

    Args:
        base: the model, with or without attached experts; it is unchanged afterwards.
        requests: the longest prompts are answered first.
        rows: the most answers of a batch.
        set_batch: called before each batch.
    """
    rows = 1 if base.model.config.model_type in ALONE else rows  # type: ignore[union-attr]
    every = [completion for request in requests for completion in request.completions]
    every.sort(key=lambda completion: -len(completion.request.ids))
    alike = [list(group) for _, group in groupby(every, key=lambda c: len(c.request.ids) if _stateful(base) else 0)]
    for group in alike:
        for start in range(0, len(group), rows):
            batch = group[start : start + rows]
            _answer(base, batch, set_batch)
            ended = {id(completion.request): completion.request for completion in batch}
            yield from (request for request in ended.values() if request.done)


def _answer(base: Base, batch: Sequence[Completion], set_batch: SetBatch | None) -> None:
    ids_BT, mask_BT = _padded(base, [completion.request.ids for completion in batch])
    if set_batch:
        set_batch([completion.request for completion in batch], None, mask_BT)

    def score(_: Tensor, logits_BV: Tensor) -> Tensor:
        left = [b for b, completion in enumerate(batch) if not completion.reason]
        logits_BV = logits_BV.float()
        return logits_BV.index_copy(0, torch.tensor(left), scores(logits_BV[left], [batch[b] for b in left]))

    def stopped(new_BT: Tensor, _: Tensor, **__: Any) -> Tensor:
        for completion, token in zip(batch, new_BT[:, -1].tolist(), strict=True):
            if not completion.reason:
                completion.push(token)
        return torch.tensor([bool(completion.reason) for completion in batch], device=new_BT.device)

    with _bare(base.model) as model:
        model.generate(
            input_ids=ids_BT,
            attention_mask=mask_BT,
            max_new_tokens=max(completion.request.max_new_tokens for completion in batch),
            logits_processor=[score],
            stopping_criteria=[stopped],
        )


@contextmanager
def _bare(model: Any) -> Iterator[Any]:
    """The model in evaluation mode, without the generation settings of its checkpoint, which `generate` would apply."""
    before, training = model.generation_config, model.training
    start = getattr(before, "decoder_start_token_id", None)
    model.generation_config = GenerationConfig(
        do_sample=False, num_beams=1, pad_token_id=before.pad_token_id or 0, decoder_start_token_id=start
    )
    model.eval()
    try:
        yield model
    finally:
        model.generation_config = before
        model.train(training)


def _stateful(base: Base) -> bool:
    return base.model._is_stateful  # type: ignore[return-value]


def _padded(base: Base, rows: Sequence[list[int]]) -> tuple[Tensor, Tensor]:
    """Returns ids and mask [B, T] on the model's device."""
    longest = max(map(len, rows))
    ids_BT = torch.full((len(rows), longest), pad_id(base))
    mask_BT = torch.zeros_like(ids_BT)
    for b, row in enumerate(rows):
        place = slice(0, len(row)) if base.seq2seq else slice(longest - len(row), longest)
        ids_BT[b, place], mask_BT[b, place] = torch.tensor(row), 1
    device = next(base.model.parameters()).device
    return ids_BT.to(device), mask_BT.to(device)
