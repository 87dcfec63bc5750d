"""Validation: the loss on texts that nobody learns from, of the domain and of the rest of the world, measured in training.

The first falls and the second rises: what is learnt, and what is forgotten for it. It is measured before the first step, every
so many steps, and after the last. No random numbers are drawn, so the training is the same to the last bit with and without it.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from yosegi.bases import Base
from yosegi.engine.rows import Row, targets_of
from yosegi.engine.score import sum_logprobs
from yosegi.errors import Invalid
from yosegi.tasks import Example
from yosegi.training.data import read
from yosegi.training.precision import wants_bf16
from yosegi.training.settings import Settings

SetBatch = Callable[[int, Tensor], None]
"""Called before each pass with the number of its rows and the mask of their real tokens [B, T], to tell the routers."""


@dataclass(frozen=True)
class Validation:
    """The texts that are measured, and how often.

    Args:
        sets: name -> examples, such as those of a task's validation split.
        eval_steps: steps from one measurement to the next.
    """

    sets: Mapping[str, Sequence[Example]] = field(default_factory=dict)
    eval_steps: int = 50

    def __post_init__(self) -> None:
        if self.eval_steps < 1:
            raise Invalid(f"eval_steps={self.eval_steps}: at least 1.")

    def rows(self, base: Base, settings: Settings) -> dict[str, Sequence[Row]]:
        """Returns the rows of each set, tokenised and packed as those of the training are; `limit` is for learning alone."""
        whole = settings.model_copy(update={"limit": None})
        return {name: read(base, examples, whole).rows for name, examples in self.sets.items()}


def mean_loss(
    base: Base,
    rows: Sequence[Row],
    settings: Settings,
    set_batch: SetBatch = lambda rows, mask_BT: None,
    tokens_per_pass: int | None = None,
) -> float:
    """Returns the mean -log p of all target tokens of the rows, in nats, without dropout.

    Args:
        base: the model, with or without experts in it.
        rows: as `data.read` makes them.
        settings: the objective and the precision.
        set_batch: tells the routers.
        tokens_per_pass: tokens that go through the base at once, padding included.
    """
    logprobs = sum_logprobs(
        base,
        rows,
        set_batch=lambda places, mask_BT: set_batch(len(places), mask_BT),
        batch_size=sys.maxsize,
        tokens=tokens_per_pass,
        bf16=wants_bf16(base, settings.precision),
    )
    return -sum(logprobs) / max(1, sum(targets_of(row, base.seq2seq) for row in rows))
