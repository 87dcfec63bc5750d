"""One descent for many learners: every step reads the rows of all of them in few passes over the frozen base.

A learner is an expert of a fleet, or a whole bank with its router. What is the learner's own stays its own: the order of its
rows, its mean loss, its gradient norm, its schedule, its end. So learning together is learning alone, only sooner.

Shapes: G learners, N rows of a step, B rows of a pass, X learners that share a parameter group.
"""

import math
import shutil
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import torch
from torch import Tensor

from yosegi import registry
from yosegi.bases import Base
from yosegi.core.model import Banks
from yosegi.engine.rows import collate, order, pad_id, tokens_by_step
from yosegi.estimate.memory import TOKENS
from yosegi.objectives import IGNORED
from yosegi.progress import progress
from yosegi.run import Run
from yosegi.training.balancing import Balancing
from yosegi.training.interrupt import interruptible
from yosegi.training.precision import wants_bf16
from yosegi.training.settings import Settings
from yosegi.training.update import Outcome, Part, Update


@dataclass(frozen=True)
class Lesson:
    """What one learner reads.

    Args:
        name: of the learner.
        rows: `input_ids` and `labels` (batches.tokenise).
        heard: what the routers hear of each row: its expert, or its task.
        steps: how many optimiser steps.
        batch: rows of a step.
        order: which row stands at which place of the training; by default shuffled epochs.
        types: of each row, for `balancing`.
    """

    name: str
    rows: Sequence[dict[str, list[int]]]
    heard: Sequence[str | None]
    steps: int
    batch: int
    order: Sequence[int] | None = None
    types: Sequence[int] | None = None


Look = Callable[[int, Lesson, int], float]
"""What watches a learner: (steps taken, the lesson, tokens read) -> the seconds it took, which are none of the training's."""


class Place(NamedTuple):
    """One row of a step: how long it is, whose, which of its rows."""

    length: int
    learner: int
    row: int


def steps_of(rows: int, settings: Settings) -> tuple[int, int]:
    """(steps, rows of a step) of one learner."""
    batch = settings.per_device_train_batch_size * settings.gradient_accumulation_steps
    return settings.max_steps or math.ceil(settings.num_train_epochs * rows / batch), batch


def passes(places: Sequence[Place], tokens: int) -> Iterator[list[Place]]:
    """Rows of like length together, at most `tokens` in a pass once padded; within a pass, learner by learner."""
    some: list[Place] = []
    for place in sorted(places, key=lambda p: (-p.length, p.learner)):
        if some and (len(some) + 1) * some[0].length > tokens:
            yield sorted(some, key=lambda p: p.learner)
            some = []
        some.append(place)
    if some:
        yield sorted(some, key=lambda p: p.learner)


def descend(
    base: Base,
    banks: Banks,
    lessons: Sequence[Lesson],
    parts: Sequence[Part],
    run: Run,
    settings: Settings,
    *,
    needs: str,
    what: Mapping[str, Any],
    folder: Path,
    title: str,
    resume: bool = True,
    masks: Mapping[str, Tensor] | None = None,
    tokens_per_pass: int | None = None,
    look: Look | None = None,
    balancing: Balancing | None = None,
) -> Outcome:
    """Train the parameters of `parts` in place, until the last lesson ends.

    Args:
        base: frozen, with `banks` in it.
        banks: told of each pass who is asked (`hears`: "experts" or "tasks").
        lessons: one a learner. With several, the first axis of every parameter counts the learners.
        parts: what moves; every parameter (or slice of one) once.
        run: gets a row a step and learner.
        settings: the objective, optimiser, mask, schedule and clipping; the same that one expert is trained with.
        what: what is being trained; a checkpoint of something else is refused.
        folder: of the checkpoint.
        title: of the progress bar.
        resume: go on from the checkpoint, if there is one.
        masks: True where an entry may move, by parameter; by default as the settings have it.
        tokens_per_pass: the memory that a pass may take, in tokens.
        look: called before the first step, and after every step, for each learner that took it (validation.py).
        balancing: in place of the objective; for one learner.

    Raises:
        Invalid: a checkpoint of another training is in the way.
        KeyboardInterrupt: after the step was finished and saved.
    """
    device = next(base.model.parameters()).device
    tokens_per_pass = tokens_per_pass or TOKENS.get(device.type, TOKENS["cuda"])
    objective = balancing or registry.find("objectives", settings.objective)
    update = Update(parts, [lesson.name for lesson in lessons], settings, masks)
    total = max(lesson.steps for lesson in lessons)
    orders = [le.order or order(len(le.rows), le.steps * le.batch, settings.seed) for le in lessons]
    targets = [[targets_of(row, base.seq2seq) for row in lesson.rows] for lesson in lessons]
    tokens = [tokens_by_step(one.rows, places, one.batch) for one, places in zip(lessons, orders, strict=True)]
    together, outcome = collate(pad_id(base)), update.outcome
    torch.manual_seed(settings.seed)
    if not resume:
        shutil.rmtree(folder, ignore_errors=True)
    done = update.load(folder, what) if folder.exists() else 0
    run.rewind(done or -1, expert=[lesson.name for lesson in lessons])  # step 0 is what `look` saw first
    if look is not None and not done:
        for lesson in lessons:
            look(0, lesson, 0)
    before_s, started = outcome.wall_s, time.monotonic()
    base.model.train()
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=wants_bf16(base, settings.precision))

    def read(some: Sequence[Place]) -> dict[str, Tensor]:
        """A batch, and the banks are told of it."""
        batch = together([lessons[p.learner].rows[p.row] for p in some])
        if types := [t[p.row] for p in some if (t := lessons[p.learner].types) is not None]:
            batch["type_B"] = torch.tensor(types)
        batch = {key: value.to(device) for key, value in batch.items()}
        heard: dict[str, Any] = {needs: [lessons[p.learner].heard[p.row] for p in some]}
        banks.set_batch(mask_BT=batch["attention_mask"], **heard)
        return batch

    recomputed = _recomputed(base.model) if settings.activation_checkpointing else nullcontext()
    with recomputed, interruptible() as interrupted, progress(title, total - done) as bar:
        for step in range(done, total):
            at_work = [
                g for g, lesson in enumerate(lessons) if step < lesson.steps and lesson.name not in outcome.diverged
            ]
            places = [
                Place(_length(lessons[g].rows[row], base.seq2seq), g, row)
                for g in at_work
                for row in orders[g][step * lessons[g].batch : (step + 1) * lessons[g].batch]
            ]
            if not at_work:
                break
            losses, tokens_G = torch.zeros(len(lessons), device=device), torch.zeros(len(lessons))
            for place in places:
                tokens_G[place.learner] += targets[place.learner][place.row]
            tokens_G = tokens_G.clamp(min=1).to(device)  # a step whose answers were all cut off teaches nothing

            cut = list(passes(places, tokens_per_pass))
            if balancing is not None:
                with autocast:
                    balancing.begin(base.model, map(read, cut) if len(cut) > 1 else ())
            for some in cut:
                batch = read(some)
                outcome.tokens += int(batch["attention_mask"].sum())
                learner_B = torch.tensor([p.learner for p in some], device=device)
                with autocast:
                    loss_B = objective(base.model, batch, tokens_G[learner_B])
                loss_B.sum().backward()
                losses.index_add_(0, learner_B, loss_B.detach().float())

            well, norm_G, lr_G = update.step(step, at_work, losses)
            outcome.wall_s = before_s + time.monotonic() - started
            loss_G = losses.tolist()
            pace = {
                "tokens_per_s": round(outcome.tokens / max(outcome.wall_s, 1e-9)),
                "wall_s": round(outcome.wall_s, 2),
            }
            told = balancing.told() if balancing is not None else {}
            run.log(*(
                {"step": step + 1, "stage": "sft", "expert": lessons[g].name}
                | {"loss": loss_G[g], "lr": lr_G[g], "grad_norm": norm_G[g], "tokens": tokens[g][step + 1], **told, **pace}
                for g in well
            ))  # fmt: skip
            bar.advance(note=f"loss {fmean(loss_G[g] for g in well):.3f}" if well else "diverged")
            if look is not None:  # before the checkpoint, which a resumed run takes for all that was seen
                started += sum(look(step + 1, lessons[g], tokens[g][step + 1]) for g in well)
            if (step + 1) % settings.save_steps == 0 or step + 1 == total or interrupted:
                update.save(folder, step + 1, step + 1 == total, what)
            if interrupted:
                raise KeyboardInterrupt
    return outcome


@contextmanager
def _recomputed(model: Any) -> Generator[None]:
    """Activations are computed again in the backward pass instead of being kept."""
    model.gradient_checkpointing_enable({"use_reentrant": False})
    try:
        yield
    finally:
        model.gradient_checkpointing_disable()


def targets_of(row: Mapping[str, list[int]], seq2seq: bool) -> int:
    """How many tokens of a row are learnt; a decoder never predicts the first."""
    return sum(label != IGNORED for label in row["labels"][0 if seq2seq else 1 :])


def _length(row: Mapping[str, list[int]], seq2seq: bool) -> int:
    """Tokens that a row takes in a pass."""
    return len(row["input_ids"]) + (len(row["labels"]) if seq2seq else 0)
