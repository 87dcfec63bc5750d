"""The log-likelihood of the gold answer: what a model thinks of it, even where it would not have written it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from yosegi.bases import Base
from yosegi.core.model import Banks
from yosegi.engine.generate import of
from yosegi.engine.rows import context_length, to_batch, tokenise
from yosegi.objectives import IGNORED
from yosegi.objectives.sft import sft
from yosegi.tasks import Example


def likelihood(
    base: Base,
    examples: Sequence[Example],
    *,
    banks: Banks | None = None,
    known: Mapping[str, Any] | None = None,
    batch_size: int = 32,
    advance: Callable[[int], None] = lambda n: None,
) -> list[float]:
    """Mean log p of the answer's tokens given the prompt (and the end-of-text token after it), in nats, an example each.

    Args:
        base: the model, with or without experts in it.
        examples: their `target` is the answer.
        banks: told about each batch, when there are experts.
        known: what the routers may know of each example, by argument of `Banks.set_batch`.
        batch_size: sequences at a time.
        advance: called with the number of examples done.
    """
    rows = tokenise(base, examples, context_length(base))
    tokens = [sum(label != IGNORED for label in row["labels"]) for row in rows]
    sums = nats(base, rows, banks=banks, known=known, batch_size=batch_size, advance=advance)
    return [total / n for total, n in zip(sums, tokens, strict=True)]


@torch.no_grad()
def nats(
    base: Base,
    rows: Sequence[dict[str, list[int]]],
    *,
    banks: Banks | None = None,
    known: Mapping[str, Any] | None = None,
    batch_size: int = 32,
    advance: Callable[[int], None] = lambda n: None,
) -> list[float]:
    """Σ log p of the labels of each row; the longest rows first, so that little of a batch is padding.

    Args:
        base: the model, with or without experts in it.
        rows: `input_ids` and `labels`, as batches.py makes them.
        banks: told about each batch, when there are experts.
        known: what the routers may know of each row, by argument of `Banks.set_batch`.
        batch_size: rows at a time.
        advance: called with the number of rows done.
    """
    device = next(base.model.parameters()).device
    order = sorted(range(len(rows)), key=lambda i: -len(rows[i]["input_ids"]))
    found = [0.0] * len(rows)
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        batch = to_batch(base, [rows[i] for i in chosen])
        if banks is not None:
            banks.set_batch(mask_BT=batch["attention_mask"], **of(known, chosen))
        sums_B = sft(base.model, batch, torch.ones(len(chosen), device=device))
        for i, total in zip(chosen, sums_B.tolist(), strict=True):
            found[i] = -total
        advance(len(chosen))
    return found
