"""The parts of long pages that are read, and their log-likelihood, for perplexity and the likelihood ratio.

A text is cut into windows of the model's context; of a long text a few windows are read, spread evenly over it. Each starts with
the token that starts a text (BOS, or else the end-of-text token), so that every token of the text is predicted.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

from yosegi.bases import Base
from yosegi.engine.rows import context_length, start_of_text
from yosegi.engine.score import sum_logprobs
from yosegi.errors import Invalid
from yosegi.objectives import IGNORED
from yosegi.scores import Values

Pieces = TypeVar("Pieces", str, list[int])
LONGEST = 2048
"""The most tokens of a window, if the context is longer."""


def windows(base: Base, text: str, most: int, length: int = LONGEST) -> list[list[int]]:
    """Returns the token ids of at most `most` windows of a text, without the start token; [] for an empty text."""
    if base.seq2seq:
        raise Invalid(f"{base.name} is an encoder-decoder, which has no likelihood of a text.")
    if most < 1:
        raise Invalid(f"windows={most}: it must be at least 1.")
    ids = base.tokenizer(text, add_special_tokens=False, truncation=False, verbose=False)["input_ids"]
    return pieces_of(ids, min(context_length(base), length) - 1, most)


def pieces_of(whole: Pieces, size: int, most: int) -> list[Pieces]:
    """Cuts a text or its tokens into pieces; of more than `most`, these are spread evenly over it."""
    starts = range(0, len(whole), size)
    if (last := len(starts) - 1) >= most:
        starts = [starts[i * last // max(most - 1, 1)] for i in range(most)]
    return [whole[start : start + size] for start in starts]


def mean_of_pages(pages: Sequence[Sequence[Pieces]], sums: Callable[[list[Pieces]], Sequence[float]]) -> Values:
    """Returns for each page Σ of its pieces' sums / Σ of their lengths; None for a page without pieces."""
    numbers = iter(sums([piece for page in pages for piece in page]))
    totals = [(sum(next(numbers) for _ in page), sum(map(len, page))) for page in pages]
    return [total / length if length else None for total, length in totals]


def window_logprobs(base: Base, pieces: Sequence[Sequence[int]]) -> list[float]:
    """Returns Σ log p of all tokens of each window."""
    if not (start := start_of_text(base)):
        raise Invalid(f"The tokenizer of {base.name} has no token that separates texts.")
    ignored = [IGNORED] * len(start)
    return sum_logprobs(base, [{"input_ids": [*start, *ids], "labels": [*ignored, *ids]} for ids in pieces])
