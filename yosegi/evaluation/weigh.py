"""What a model would rather say: how likely it finds the texts that a task names, and what the task makes of that.

After a prompt, a text is a continuation, tokenised apart from it; that it ends there is not asked. By itself, every one of its
tokens is predicted: the first from the token that begins a text (BOS, or else end-of-text, which is what stands between texts in
training). What is longer than the model can look at is read in windows, each token with at least half a window before it. Equal
texts are weighed once.
"""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from yosegi.bases import Base
from yosegi.core.model import Banks
from yosegi.engine.generate import of
from yosegi.engine.rows import context_length
from yosegi.errors import Invalid
from yosegi.evaluation.likelihood import nats
from yosegi.objectives import IGNORED
from yosegi.tasks import Example, LogProb, Score, Task

Row = dict[str, list[int]]


def weigh(
    base: Base,
    task: Task,
    examples: Sequence[Example],
    *,
    banks: Banks | None = None,
    known: Mapping[str, Any] | None = None,
    batch_size: int = 32,
) -> tuple[list[Score | None], list[dict[str, list[LogProb]]]]:
    """What the candidates of each example are worth, and what each of them weighs; None and {} where there are none.

    Args:
        base: the model, with or without experts in it.
        task: says what is weighed (`candidates`) and what it means (`score_logprobs`).
        examples: of the task.
        banks: told about each batch, when there are experts.
        known: what the routers may know of each example, by argument of `Banks.set_batch`.
        batch_size: sequences at a time.
    """
    asked = [task.candidates(example) for example in examples]
    texts = [(i, some.prompt, text) for i, named in enumerate(asked) for some in named.values() for text in some.texts]
    heard = of(known, [i for i, _, _ in texts])
    found = iter(
        log_p(base, [(prompt, text) for _, prompt, text in texts], banks=banks, known=heard, batch_size=batch_size)
    )
    weighed = [{name: [next(found) for _ in some.texts] for name, some in named.items()} for named in asked]
    judged = [task.score_logprobs(e, own) if own else None for e, own in zip(examples, weighed, strict=True)]
    return judged, weighed


def log_p(
    base: Base,
    texts: Sequence[tuple[str | None, str]],
    *,
    banks: Banks | None = None,
    known: Mapping[str, Any] | None = None,
    batch_size: int = 32,
) -> list[LogProb]:
    """Σ log p of each text's tokens after its prompt, in nats, and how many tokens that are.

    Raises:
        Invalid: a text without a prompt has no tokens.
    """
    rows = _rows(base, texts)
    keys = [
        (i if known else None, *((*row["input_ids"], None, *row["labels"]) for row in own))
        for i, own in enumerate(rows)
    ]
    first = {key: i for i, key in reversed(list(enumerate(keys)))}
    places = sorted(first.values())
    whose = [i for i in places for _ in rows[i]]
    flat = list(chain.from_iterable(rows[i] for i in places))
    sums: dict[int, float] = dict.fromkeys(places, 0.0)
    for i, total in zip(
        whose, nats(base, flat, banks=banks, known=of(known, whose), batch_size=batch_size), strict=True
    ):
        sums[i] += total
    counts = [sum(label != IGNORED for row in own for label in row["labels"]) for own in rows]
    return [LogProb(sums[first[key]], count) for key, count in zip(keys, counts, strict=True)]


def _rows(base: Base, texts: Sequence[tuple[str | None, str]]) -> list[list[Row]]:
    """One row a text; several where it is too long, each token a label in one of them."""
    if not texts:
        return []
    tokenizer = base.tokenizer
    begin = tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
    nothing = (tokenizer("").input_ids or [tokenizer.eos_token_id]) if base.seq2seq else [begin]
    prompts = [prompt for prompt, _ in texts if prompt is not None]
    before = iter(tokenizer(prompts).input_ids if prompts else [])
    context, found = context_length(base), []
    for (prompt, text), ids in zip(
        texts, tokenizer([t for _, t in texts], add_special_tokens=False).input_ids, strict=True
    ):
        if prompt is None and not ids:
            raise Invalid(f"The text {text!r} has no tokens to weigh.")
        start = nothing if prompt is None else next(before) or nothing
        found.append(
            [{"input_ids": start[-context:], "labels": ids}] if base.seq2seq else _windows(start, ids, context)
        )
    return found


def _windows(before: list[int], ids: list[int], context: int) -> list[Row]:
    every, done, rows = before + ids, len(before), []
    while done < len(every) or not rows:
        start = 0 if len(every) <= context else max(0, done - context // 2)
        end = min(start + context, len(every))
        rows.append({"input_ids": every[start:end], "labels": [IGNORED] * (done - start) + every[done:end]})
        done = end
    return rows
