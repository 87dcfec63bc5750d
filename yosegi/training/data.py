"""What a learner reads: examples become rows of tokens, a step's rows become passes through the model.

Shapes: B rows of a pass, T tokens.
"""

import math
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from yosegi.bases import Base
from yosegi.engine.packing import keeps_apart, pack
from yosegi.engine.rows import Row, context_length, cut_words, tokenise
from yosegi.errors import Invalid
from yosegi.objectives import IGNORED
from yosegi.tasks import Example
from yosegi.training.settings import Settings


@dataclass(frozen=True)
class TrainingData:
    """The rows of one group of examples.

    Args:
        rows: of tokens.
        counts: for the card: documents if they are packed, else examples and what was cut of their rows; characters of their
            prompts and targets; rows, and the tokens in them.
    """

    rows: list[Row]
    counts: dict[str, Any]


@dataclass(frozen=True)
class LearnerData:
    """What one learner reads, and in what order.

    Args:
        name: of the learner.
        rows: of tokens.
        asks: what the routers are told of each row: its expert, or its task.
        steps: how many optimiser steps.
        batch: rows of a step.
        order: which row stands at which place of the training; by default shuffled epochs.
        types: of each row, for `balancing`.
    """

    name: str
    rows: Sequence[Row]
    asks: Sequence[str | None]
    steps: int
    batch: int
    order: Sequence[int] | None = None
    types: Sequence[int] | None = None


class Place(NamedTuple):
    """One row of a step: how long it is, whose, which of its rows."""

    length: int
    learner: int
    row: int


def read(base: Base, examples: Sequence[Example], settings: Settings) -> TrainingData:
    """Returns the first `settings.limit` examples as rows, one each and cut to `max_length`, or packed whole into rows of `pack`.

    Raises:
        Invalid: there is nothing to read, or the base cannot read packed rows.
    """
    examples, seq2seq, length = examples[: settings.limit], base.seq2seq, settings.pack
    if length is None:
        rows = tokenise(base, examples, settings.max_length, settings.objective)
        return TrainingData(rows, {"examples": len(examples), **_sizes(examples, rows), "cut": rows.cut})
    if seq2seq:
        raise Invalid(f"{base.name} is an encoder-decoder, whose documents cannot be packed into rows: leave pack out.")
    if length > (most := context_length(base)):
        raise Invalid(f"pack={length}: {base.name} reads {most} tokens at a time.")
    rows = pack(tokenise(base, examples, sys.maxsize, settings.objective), length)
    if not (apart := keeps_apart(base.model)):
        for row in rows:
            del row["position_ids"]
    return TrainingData(rows, {"documents": len(examples), **_sizes(examples, rows), "kept_apart": apart})


def _sizes(examples: Sequence[Example], rows: Sequence[Row]) -> dict[str, int]:
    return {
        "characters": sum(len(e.prompt) + len(e.target) for e in examples),
        "rows": len(rows),
        "tokens_in_rows": sum(len(row["input_ids"]) for row in rows),
    }


def total(groups: Iterable[TrainingData]) -> dict[str, Any]:
    """Returns the counts of several groups together."""
    counts: dict[str, Any] = {}
    for group in groups:
        for key, value in group.counts.items():
            if key == "cut":
                value = dict(Counter(counts.get(key)) + Counter(value))
            counts[key] = value if key in ("kept_apart", "cut") else counts.get(key, 0) + value
    return counts


def warn(groups: Iterable[TrainingData], settings: Settings) -> None:
    """Print a warning, once for all learners of a training, about what was cut and what the base cannot do."""
    counts = total(groups)
    if cut := cut_words(counts.get("cut", {}), counts.get("rows", 0)):
        print(f"Warning: {cut} (max_length={settings.max_length}).", file=sys.stderr)
    if not counts.get("kept_apart", True):
        print(
            "Warning: this base cannot keep documents of one row apart: each attends to those before it.",
            file=sys.stderr,
        )


def steps_of(rows: int, settings: Settings, processes: int = 1) -> tuple[int, int]:
    """Returns the steps of one learner and the rows of a step, of which each of several processes reads its share."""
    batch = settings.per_device_train_batch_size * settings.gradient_accumulation_steps * processes
    return settings.max_steps or math.ceil(settings.num_train_epochs * rows / batch), batch


def passes(places: Sequence[Place], tokens: int, rows: int | None = None) -> Iterator[list[Place]]:
    """Rows of like length together, at most `tokens` in a pass once padded, and `rows`; within a pass, learner by learner."""
    chosen: list[Place] = []
    for place in sorted(places, key=lambda p: (-p.length, p.learner)):
        if chosen and ((len(chosen) + 1) * chosen[0].length > tokens or len(chosen) == rows):
            yield sorted(chosen, key=lambda p: p.learner)
            chosen = []
        chosen.append(place)
    if chosen:
        yield sorted(chosen, key=lambda p: p.learner)


def count_targets(row: Mapping[str, list[int]], seq2seq: bool) -> int:
    """Returns how many tokens of a row are learnt; a decoder never predicts the first."""
    return sum(label != IGNORED for label in row["labels"][0 if seq2seq else 1 :])


def row_length(row: Mapping[str, list[int]], seq2seq: bool) -> int:
    """Returns the tokens that a row takes in a pass."""
    return len(row["input_ids"]) + (len(row["labels"]) if seq2seq else 0)
