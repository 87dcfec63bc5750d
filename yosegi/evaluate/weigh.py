"""What a model would rather say: log p of candidate texts after a prompt, for questions with choices and for plain text."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from yosegi.bases import Base
from yosegi.batches import collate, tokenise
from yosegi.core.model import Banks
from yosegi.generate import context_length, of
from yosegi.objectives.sft import sft
from yosegi.tasks import Example, Task


def weigh(
    base: Base,
    task: Task,
    examples: Sequence[Example],
    *,
    banks: Banks | None = None,
    known: Mapping[str, Any] | None = None,
    batch_size: int = 32,
) -> list[dict[str, float]]:
    """The metrics that a task makes of the likelihood of its candidates, for each example; {} where it has none.

    Args:
        base: the model, with or without experts in it.
        task: says what is weighed (`candidates`) and what it means (`judge`).
        examples: of the task.
        banks: told about each batch, when there are experts.
        known: what the routers may know of each example, by argument of `Banks.hear`.
        batch_size: sequences at a time.
    """
    asked = [task.candidates(example) for example in examples]
    texts = [(i, some.prompt, text) for i, named in enumerate(asked) for some in named.values() for text in some.texts]
    places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
    if not places:
        return [{} for _ in examples]
    owners = [i for i, _, _ in places]
    found = _logps(base, [(prompt, text) for _, prompt, text in places], banks, of(known, owners), batch_size)
    return [
        dict(
            task.judge(
                example,
                {name: [found[places[i, some.prompt, text]] for text in some.texts] for name, some in named.items()},
            )
        )
        if named
        else {}
        for i, (example, named) in enumerate(zip(examples, asked, strict=True))
    ]


@torch.no_grad()
def _logps(
    base: Base, pairs: Sequence[tuple[str, str]], banks: Banks | None, known: Mapping[str, Any], batch_size: int
) -> list[float]:
    """log p of each text after its prompt, its tokens together, in nats. That it ends there is not asked."""
    device = next(base.model.parameters()).device
    examples = [Example(str(place), *pair) for place, pair in enumerate(pairs)]
    rows = tokenise(examples, base.tokenizer, context_length(base), "sft", base.seq2seq)
    for row in rows:
        if len(row["labels"]) > 1 and row["labels"][-1] == base.tokenizer.eos_token_id:
            row["labels"] = row["labels"][:-1]
            row["input_ids"] = row["input_ids"] if base.seq2seq else row["input_ids"][:-1]
    order = sorted(range(len(rows)), key=lambda i: -len(rows[i]["input_ids"]))
    together, found = collate(base.tokenizer.pad_token_id), [0.0] * len(rows)
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        batch = {key: value.to(device) for key, value in together([rows[i] for i in chosen]).items()}
        if banks is not None:
            banks.hear(mask_BT=batch["attention_mask"], **of(known, chosen))
        nats_B = sft(base.model, batch, torch.ones(len(chosen), device=device))
        for i, nats in zip(chosen, nats_B.tolist(), strict=True):
            found[i] = -nats
    return found
