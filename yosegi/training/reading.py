"""What one learner reads: examples become the rows that its settings ask for, and are counted."""

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from yosegi.bases import Base
from yosegi.engine.packing import keeps_apart, pack
from yosegi.engine.rows import context_length, cut_words, tokenise
from yosegi.errors import Invalid
from yosegi.tasks import Example
from yosegi.training.settings import Settings

WHOLE = sys.maxsize


@dataclass(frozen=True)
class Reading:
    """The rows of a learner.

    Args:
        rows: `input_ids` and `labels`, and `position_ids` where a row holds several documents that are kept apart.
        counts: for its card. Documents if they are packed, else examples and what was cut of their rows; characters of
            their prompts and targets; rows, and the tokens in them.
    """

    rows: list[dict[str, list[int]]]
    counts: dict[str, Any]


def read(base: Base, examples: Sequence[Example], settings: Settings) -> Reading:
    """The first `settings.limit` examples, one a row and cut to `max_length`, or packed whole into rows of `pack` tokens.

    Raises:
        Invalid: nothing to read, or a base that cannot read packed rows.
    """
    examples, seq2seq, length = examples[: settings.limit], base.seq2seq, settings.pack
    if length is None:
        rows = tokenise(base, examples, settings.max_length, settings.objective)
        return Reading(rows, {"examples": len(examples), **_sizes(examples, rows), "cut": rows.cut})
    if seq2seq:
        raise Invalid(f"{base.name} is an encoder-decoder, whose documents cannot be packed into rows: leave pack out.")
    if length > (most := context_length(base)):
        raise Invalid(f"pack={length}: {base.name} reads {most} tokens at a time.")
    rows = pack(tokenise(base, examples, WHOLE, settings.objective), length)
    if not (apart := keeps_apart(base.model)):
        for row in rows:
            del row["position_ids"]
    return Reading(rows, {"documents": len(examples), **_sizes(examples, rows), "kept_apart": apart})


def _sizes(examples: Sequence[Example], rows: Sequence[dict[str, list[int]]]) -> dict[str, int]:
    return {
        "characters": sum(len(e.prompt) + len(e.target) for e in examples),
        "rows": len(rows),
        "tokens_in_rows": sum(len(row["input_ids"]) for row in rows),
    }


def total(readings: Iterable[Reading]) -> dict[str, Any]:
    """Returns the counts of several readings together."""
    counts: dict[str, Any] = {}
    for reading in readings:
        for key, value in reading.counts.items():
            if key == "cut":
                value = dict(Counter(counts.get(key)) + Counter(value))
            counts[key] = value if key in ("kept_apart", "cut") else counts.get(key, 0) + value
    return counts


def warn(readings: Iterable[Reading], settings: Settings) -> None:
    """Says on stderr, once for all learners of a training, what was cut and what the base cannot do."""
    counts = total(readings)
    if cut := cut_words(counts.get("cut", {}), counts.get("rows", 0)):
        print(f"Warning: {cut} (max_length={settings.max_length}).", file=sys.stderr)
    if not counts.get("kept_apart", True):
        print(
            "Warning: this base cannot keep documents of one row apart: each attends to those before it.",
            file=sys.stderr,
        )
