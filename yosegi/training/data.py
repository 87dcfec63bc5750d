"""What a learner reads: examples become rows of tokens, a step's rows become passes through the model.

Shapes: B rows of a pass, T tokens.
"""

import hashlib
import math
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from torch import Tensor

from yosegi.bases import Base
from yosegi.core.expert import Expert
from yosegi.engine.packing import keeps_apart, pack
from yosegi.engine.rows import Row, context_length, data_hash, tokenise
from yosegi.errors import Invalid
from yosegi.tasks import Example, subset
from yosegi.training.settings import Settings

EPOCHS, MOST_EPOCHS, ENOUGH_STEPS = 3.0, 20.0, 100
"""Passes over the data where none are asked for: the first number, or up to the second to make the third number of steps."""


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
        asks: what the routers need to know about each row: its expert, or its task.
        steps: number of optimiser steps.
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

    @cached_property
    def hash(self) -> str:
        """12 hex digits that change with anything that is read."""
        return digest(data_hash(self.rows), self.asks, self.order, self.types)


class Place(NamedTuple):
    """One row of a step: how long it is, whose, which of its rows."""

    length: int
    learner: int
    row: int


def read(base: Base, examples: Sequence[Example], settings: Settings) -> TrainingData:
    """Returns examples, `settings.limit` of all, as rows: one each and cut to `max_length`, or packed whole into rows of `pack`.

    Raises:
        Invalid: there is nothing to read, or the base cannot read packed rows.
    """
    examples, seq2seq, length = subset(examples, settings.limit), base.seq2seq, settings.pack
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


def steps_of(rows: int, settings: Settings, processes: int = 1) -> tuple[int, int]:
    """Returns the steps of one learner and the rows of a step, of which each of several processes reads its share.

    Without a number of steps or epochs, sixty rows get twenty passes instead of three, which would teach nothing.
    """
    batch = settings.per_device_train_batch_size * settings.gradient_accumulation_steps * processes
    epochs = settings.num_train_epochs or min(MOST_EPOCHS, max(EPOCHS, ENOUGH_STEPS * batch / rows))
    return settings.max_steps or math.ceil(epochs * rows / batch), batch


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


def row_length(row: Mapping[str, list[int]], seq2seq: bool) -> int:
    """Returns the tokens that a row takes in a pass."""
    return len(row["input_ids"]) + (len(row["labels"]) if seq2seq else 0)


def digest(*parts: Any) -> str:
    """Returns 12 hex digits that change with any of these values; of a tensor its numbers count."""
    hashed = hashlib.sha256()
    for part in parts:
        tensor = isinstance(part, Tensor)
        hashed.update(part.detach().cpu().float().contiguous().numpy().tobytes() if tensor else repr(part).encode())
    return hashed.hexdigest()[:12]


def digest_of(experts: Iterable[Expert]) -> str:
    """Returns 12 hex digits that change with the experts that a training begins with."""
    return digest(*([e.name, e.card.get("sha256"), e.card.get("data_hash")] for e in experts))
