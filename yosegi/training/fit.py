"""A pass that fits the free memory: how many tokens go through the base at once, and whether activations are computed again.

What is learnt is the same up to rounding, however a step is cut. Smaller passes cost little while they keep the device busy, so
they come first; computing activations again costs a third of the time. A training that is taken up again keeps the pass that it
began with, so its numbers are the same to the last bit.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from yosegi.core.model import Banks
from yosegi.engine.rows import Row, targets_of
from yosegi.errors import Invalid, UnknownName
from yosegi.estimate import memory
from yosegi.estimate.memory import WHOLE, predict
from yosegi.estimate.shapes import Shape, of_config
from yosegi.routers.by_request import ByRequest
from yosegi.run import free_memory
from yosegi.training import checkpoint
from yosegi.training.job import Job
from yosegi.training.precision import wants_bf16

BUSY = {"cpu": 256, "cuda": 2048}
"""Tokens that keep a device busy: no smaller pass is tried before activations are computed again."""
GB = 2**30


def fit(job: Job, plan: memory.Job | None, free: int | None = None) -> None:
    """Sets `job.budget` and `job.checkpointing` to what fits, and says so in one line where it had to save memory.

    Args:
        job: its settings may fix both.
        plan: the training as the estimate knows it; None where it does not know it: nothing is chosen then.
        free: bytes; by default what is free.

    Raises:
        Invalid: no pass fits.
    """
    begun = checkpoint.read(job.folder)[1] if job.resume else {}
    job.checkpointing = bool(begun.get("checkpointing", job.settings.activation_checkpointing))
    if begun.get("tokens_per_pass") or plan is None:
        job.budget = begun.get("tokens_per_pass") or job.budget
        return
    shape = of_config(job.base.name, job.base.model.config)
    if free is None:
        free = free_memory(job.device.type) // (job.processes.num_processes if plan.device == "cpu" else 1)
    for tokens, again in ways(job, plan):
        taken = beyond(shape, replace(plan, tokens_per_pass=tokens, checkpointing=again))
        if taken <= free:
            if job.writes and (tokens < job.budget or again > job.checkpointing):
                also = ", and activations are computed again in the backward pass" if again > job.checkpointing else ""
                print(
                    f"{tokens:,} tokens go through the base at a time{also}, to fit {free / GB:.1f} GB of free memory "
                    "(--tokens-per-pass, --activation-checkpointing).",
                    file=sys.stderr,
                )
            job.budget, job.checkpointing = tokens, again
            return
    least = beyond(shape, replace(plan, tokens_per_pass=1, checkpointing=plan.method != "grpo"))
    raise Invalid(
        f"This training needs {least / GB:.2g} GB beside the base, and {free / GB:.2g} GB are free{advice(shape, plan, free)}."
    )


def plan_of(job: Job, banks: Banks | None, rows: Sequence[Row], batch: int, **more: Any) -> memory.Job | None:
    """Returns a training as the estimate knows it, None if it does not; `more` as for `plan`.

    Args:
        job: its settings and its base.
        banks: the experts; None where the model itself is trained.
        rows: what is read.
        batch: rows of a step, of each learner.
        more: fields of `memory.Job`.
    """
    settings = job.settings
    if banks is None:
        arguments = settings.optimizer_args
        method = settings.optimizer if settings.optimizer in ("galore", "apollo") else "full"
        method += "-per-layer" if method == "galore" and arguments.get("per_layer") else ""
        sizes = {"rank": arguments.get("rank") or 128, "dropout": 0.0, "targets": settings.targets}
    else:
        method = "fleet" if all(isinstance(layer.router, ByRequest) for layer in banks.layers.values()) else "loramoe"
        names = sorted({layer.rpartition(".")[2] for layer in banks})
        rank = max(bank.A_ERI.shape[1] for bank in banks.values())
        sizes = {"rank": rank, "experts": len(banks.names), "targets": names, "dropout": settings.dropout}
    return plan(job, rows, batch, **{"method": method, **sizes, **more})


def plan(job: Job, rows: Sequence[Row], batch: int, **sizes: Any) -> memory.Job | None:
    """Returns a training as the estimate knows it, all rows as long as the longest; None for a model that it does not know."""
    base = job.base
    length = max(len(row["input_ids"]) for row in rows)
    most = sorted((targets_of(row, base.seq2seq) for row in rows), reverse=True)[: max(1, job.budget // length)]
    known = memory.Job(
        batch=batch, length=length, dtype=base.dtype, bf16=wants_bf16(base, job.settings.precision),
        device="cpu" if job.device.type == "cpu" else "cuda", answers=min(1.0, max(1, sum(most)) / (len(most) * length)), **sizes,
    )  # fmt: skip
    try:
        shape = of_config(base.name, base.model.config)
        return known if shape.linears(known.targets) else None
    except (Invalid, UnknownName, AttributeError, ValueError):
        return None


def ways(job: Job, plan: memory.Job) -> Iterator[tuple[int, bool]]:
    """Yields the passes to try, (tokens, whether activations are computed again), the fastest first. GRPO's model is in the
    mode in which it writes, and then computes nothing again."""
    asked, sizes = False if plan.method == "grpo" else job.settings.activation_checkpointing, [job.budget]
    while job.settings.tokens_per_pass is None and sizes[-1] > plan.length:
        sizes.append(max(plan.length, sizes[-1] // 2))
    for again in (False, True) if asked is None else (asked,):
        any_size = again or asked is not None
        yield from ((n, again) for n in sizes if any_size or n == sizes[0] or n >= BUSY[plan.device])


def beyond(shape: Shape, plan: memory.Job) -> int:
    """Returns the bytes that a training takes beside the weights, which are there before it begins."""
    held = predict(shape, plan)
    return held.peak - held.weights + held.gaps


def advice(shape: Shape, plan: memory.Job, free: int) -> str:
    """Returns what would fit, or nothing."""
    changes: Mapping[str, tuple[str, int]] = {
        "--max-length": ("length", plan.length),
        **({} if plan.method in WHOLE else {"--rank": ("rank", plan.rank)}),
    }
    for flag, (name, value) in changes.items():
        for less in (value // 2, value // 4, value // 8):
            if less and beyond(shape, replace(plan, tokens_per_pass=1, checkpointing=True, **{name: less})) <= free:
                return f"; {flag} {less} would fit"
    return ""
