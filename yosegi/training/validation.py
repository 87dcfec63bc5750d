"""Validation: while somebody learns, the loss on texts that nobody learns from, of the domain and of the rest of the world.

The first falls and the second rises: what is learnt, and what is forgotten for it. It is measured before the first step, every
so many steps, and after the last; it draws no random numbers, so the training is the same to the last bit with and without it.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from yosegi import registry
from yosegi.bases import Base
from yosegi.engine.rows import Row, to_batch
from yosegi.errors import Invalid
from yosegi.estimate.memory import TOKENS
from yosegi.run import Run
from yosegi.tasks import Example
from yosegi.training.data import Place, count_targets, passes, read
from yosegi.training.precision import wants_bf16
from yosegi.training.settings import Settings

SetBatch = Callable[[int, Tensor], None]
"""Called before each pass with the number of its rows and the mask of their real tokens [B, T], to tell the routers."""


@dataclass(frozen=True)
class Validation:
    """On what, and how often.

    Args:
        sets: name -> examples, such as those of a task's validation split.
        eval_steps: steps from one measurement to the next.
    """

    sets: Mapping[str, Sequence[Example]] = field(default_factory=dict)
    eval_steps: int = 50

    def __post_init__(self) -> None:
        if self.eval_steps < 1:
            raise Invalid(f"eval_steps={self.eval_steps}: at least 1.")


class Measure:
    """Measures when it is time to, and writes it down.

    Args:
        base: the model, with whatever learns in it.
        validation: None measures nothing.
        settings: of the training; the sets are tokenised and packed as its rows are (`limit` is for learning alone).
        run: gets a row of metrics for each set.
        tokens_per_pass: tokens that go through the base at once, padding included.
    """

    def __init__(
        self,
        base: Base,
        validation: Validation | None,
        settings: Settings,
        run: Run,
        tokens_per_pass: int | None = None,
    ):
        validation = validation or Validation()
        whole = settings.model_copy(update={"limit": None})
        self.rows = {name: read(base, examples, whole).rows for name, examples in validation.sets.items()}
        self.base, self.eval_steps, self.settings, self.run = base, validation.eval_steps, settings, run
        self.tokens_per_pass, self.seconds = tokens_per_pass, 0.0

    @property
    def cost(self) -> dict[str, float]:
        """For the card: the time it took so far in this process, which is none of the training's."""
        return {"validation_s": round(self.seconds, 2)} if self.rows else {}

    def __call__(self, step: int, steps: int, set_batch: SetBatch = lambda rows, mask_BT: None, **row: Any) -> float:
        """Measure every set, if this step is one to do so. Returns the seconds it took.

        Args:
            step: how many were taken; 0 before the first.
            steps: how many there will be.
            set_batch: tells the routers.
            row: columns of the metrics, such as `stage`, `expert` and `tokens`.
        """
        if not self.rows or (step % self.eval_steps and step != steps):
            return 0.0
        started = time.monotonic()
        for name, rows in self.rows.items():
            loss = mean_loss(self.base, rows, self.settings, set_batch, self.tokens_per_pass)
            known = loss if math.isfinite(loss) else None
            self.run.log({"step": step, **row, "validation": name, "validation_loss": known})
        took = time.monotonic() - started
        self.seconds += took
        return took


@torch.no_grad()
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
    model, device = base.model, next(base.model.parameters()).device
    objective = registry.find("objectives", settings.objective)
    budget = tokens_per_pass or TOKENS.get(device.type, TOKENS["cuda"])
    places = [Place(len(row["input_ids"]), 0, place) for place, row in enumerate(rows)]
    training, nats = model.training, 0.0
    model.eval()
    try:
        for chosen in passes(places, budget):
            batch = to_batch(base, [rows[p.row] for p in chosen])
            set_batch(len(chosen), batch["attention_mask"])
            with torch.autocast(device.type, torch.bfloat16, enabled=wants_bf16(base, settings.precision)):
                nats += objective(model, batch, 1).item()
    finally:
        model.train(training)
    return nats / max(1, sum(count_targets(row, base.seq2seq) for row in rows))
