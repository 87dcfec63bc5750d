"""The log-likelihood of pages, of which long ones are read in part: what perplexity and the likelihood ratio both need.

A text is cut into windows of the model's context, and of a long one a few windows are read, spread evenly over it. Each begins
with what begins a text (BOS, or else the end-of-text token), so that every token of the text is predicted.
"""

from collections.abc import Sequence

from yosegi.bases import Base
from yosegi.engine.rows import context_length, start_of_text
from yosegi.engine.score import sum_logprobs
from yosegi.errors import Invalid
from yosegi.objectives import IGNORED

LONGEST = 2048
"""Tokens of a window, where the model could look at more."""


def windows(base: Base, text: str, most: int, length: int = LONGEST) -> list[list[int]]:
    """Returns the token ids of at most `most` windows of a text, without what begins them; [] of an empty text."""
    if base.seq2seq:
        raise Invalid(f"{base.name} is an encoder-decoder: it does not say how likely a text is.")
    if most < 1:
        raise Invalid(f"windows={most}: at least one window of a page is read.")
    ids = base.tokenizer(text, add_special_tokens=False, truncation=False, verbose=False)["input_ids"]
    size = min(context_length(base), length) - 1
    starts = list(range(0, len(ids), size))
    if len(starts) > most:
        starts = [starts[i * (len(starts) - 1) // max(most - 1, 1)] for i in range(most)]
    return [ids[start : start + size] for start in starts]


def window_logprobs(base: Base, pieces: Sequence[Sequence[int]]) -> list[float]:
    """Returns Σ log p of all tokens of each window."""
    if not (start := start_of_text(base)):
        raise Invalid(f"The tokenizer of {base.name} has no token that separates texts.")
    ignored = [IGNORED] * len(start)
    return sum_logprobs(base, [{"input_ids": [*start, *ids], "labels": [*ignored, *ids]} for ids in pieces])
