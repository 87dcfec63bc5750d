"""How likely a model finds whole sentences, and what a task that ranks makes of it.

Each sentence is tokenised as it stands, and every one of its tokens is predicted: the first from the token that begins a text
(BOS, or else end-of-text, which is what stands between texts in training). One longer than the model can look at is read in
windows, each token with at least half a window before it. Equal sentences are weighed once.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from yosegi.bases import Base
from yosegi.batches import collate
from yosegi.core.model import Banks
from yosegi.errors import Invalid
from yosegi.generate import context_length, of
from yosegi.objectives import IGNORED
from yosegi.objectives.sft import sft
from yosegi.tasks import Example, Nats, Score, Task


def rank(
    base: Base,
    task: Task,
    examples: Sequence[Example],
    *,
    banks: Banks | None = None,
    known: Mapping[str, Any] | None = None,
    batch_size: int = 32,
) -> tuple[list[Score], list[list[Nats]]]:
    """The scores of a task that ranks sentences, and what each sentence of each example weighs.

    Args:
        base: the model, with or without experts in it.
        task: says which sentences, and judges them.
        examples: its questions.
        banks: told about each batch, when there are experts.
        known: what the routers may know of each example, by argument of `Banks.hear`.
        batch_size: sequences at a time.
    """
    texts = [task.sentences(example) for example in examples]
    whose = [i for i, several in enumerate(texts) for _ in several]
    nats = iter(
        log_p(
            base,
            [text for several in texts for text in several],
            banks=banks,
            known=of(known, whose),
            batch_size=batch_size,
        )
    )
    found = [[next(nats) for _ in several] for several in texts]
    return [task.ranked(example, own) for example, own in zip(examples, found, strict=True)], found


@torch.no_grad()
def log_p(
    base: Base,
    texts: Sequence[str],
    *,
    banks: Banks | None = None,
    known: Mapping[str, Any] | None = None,
    batch_size: int = 32,
    advance: Callable[[int], None] = lambda n: None,
) -> list[Nats]:
    """Σ log p of each text's tokens, in nats, and how many tokens it has.

    Raises:
        Invalid: a text has no tokens.
    """
    device = next(base.model.parameters()).device
    ids = base.tokenizer(list(texts), add_special_tokens=False).input_ids if texts else []
    if empty := [text for text, own in zip(texts, ids, strict=True) if not own]:
        raise Invalid(f"The text {empty[0]!r} has no tokens to weigh.")
    keys = [tuple(own) if not known else (i, *own) for i, own in enumerate(ids)]  # told apart only where routers are
    first = {key: i for i, key in reversed(list(enumerate(keys)))}
    rows = [(i, row) for i in sorted(first.values()) for row in _windows(base, ids[i])]
    rows.sort(key=lambda pair: -len(pair[1]["labels"]))
    together, sums = collate(base.tokenizer.pad_token_id), dict.fromkeys(first.values(), 0.0)
    for start in range(0, len(rows), batch_size):
        chosen = rows[start : start + batch_size]
        batch = {key: value.to(device) for key, value in together([row for _, row in chosen]).items()}
        if banks is not None:
            banks.hear(mask_BT=batch["attention_mask"], **of(known, [i for i, _ in chosen]))
        ones_B = torch.ones(len(chosen), device=device)
        for (i, _), nats in zip(chosen, sft(base.model, batch, ones_B).tolist(), strict=True):
            sums[i] -= nats
        advance(len(chosen))
    return [Nats(sums[first[key]], len(own)) for key, own in zip(keys, ids, strict=True)]


def _windows(base: Base, ids: list[int]) -> list[dict[str, list[int]]]:
    """One row of `input_ids` and `labels`; several where the text is too long, each token a label in one of them."""
    if base.seq2seq:
        return [{"input_ids": base.tokenizer("").input_ids or [base.tokenizer.eos_token_id], "labels": ids}]
    begin = base.tokenizer.bos_token_id
    ids = [base.tokenizer.eos_token_id if begin is None else begin, *ids]
    context, rows = context_length(base), []
    end = done = 1
    while done < len(ids):
        start = 0 if done == 1 else done - context // 2
        end = min(start + context, len(ids))
        rows.append({"input_ids": ids[start:end], "labels": [IGNORED] * (done - start) + ids[done:end]})
        done = end
    return rows
