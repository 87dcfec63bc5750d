"""Does it fit, and when is it done: one answer for a shape, a job and a machine, and the next thing to try if it does not."""

from dataclasses import asdict, replace
from typing import Any

from yosegi.estimate import memory, pace
from yosegi.estimate.machines import RESERVED, Machine
from yosegi.estimate.memory import WHOLE, Job
from yosegi.estimate.shapes import Shape

GB = 2**30
FACTOR = 1.15
"""Activations are known within so much (benchmarks/bench_plan.py): what would not fit with that much more of them is tight."""


def judge(
    shape: Shape, job: Job, machine: Machine, tokens: float | None = None, steps: int | None = None
) -> dict[str, Any]:
    """Everything `yosegi doctor --plan` says, for machines.

    Args:
        shape: of the model.
        job: what is trained, on each device.
        machine: the devices.
        tokens: of the whole training, to say how long it takes.
        steps: or its optimiser steps.
    """
    held = memory.predict(shape, job)
    taken = needed(held.peak, job.device)
    slack = (FACTOR - 1) * (held.activations + held.logits)
    fits = "no" if taken > machine.memory else "tight" if taken + slack > machine.memory else "yes"
    found: dict[str, Any] = {
        "model": {**asdict(shape), "params": shape.params},
        "job": {**asdict(job), "learnt": memory.moving_params(shape, job), "tokens_of_a_step": job.tokens},
        "machine": asdict(machine),
        "memory": held.rows(),
        "needed": round(taken),
        "fits": fits,
        "pace": None,
        "hours": None,
        "instead": [] if fits == "yes" else instead(shape, job, machine),
    }
    if (guess := pace.predict(shape, job, machine)) is not None:
        found["pace"] = asdict(guess)
        wanted = tokens if tokens is not None else steps and steps * job.tokens * machine.count
        if wanted:
            found["hours"] = {
                "estimate": wanted / guess.tokens_per_s / 3600,
                "low": wanted / guess.high / 3600,
                "high": wanted / guess.low / 3600,
            }
    return found


def needed(peak: float, device: str) -> float:
    """Bytes on the device: the peak, what the libraries take, and what is lost between blocks."""
    fixed, share = RESERVED[device]
    return peak * (1 + share) + fixed * GB


def instead(shape: Shape, job: Job, machine: Machine) -> list[str]:
    """What would make it fit, one change and then several: the mildest first."""
    changes: dict[str, dict[str, Any]] = {"--activation-checkpointing": {"checkpointing": True}}
    changes[f"--batch-size {max(1, job.batch // 4)}"] = {"batch": max(1, job.batch // 4)}
    changes["--dtype bf16"] = {"dtype": "bf16"}
    if job.method not in WHOLE:
        changes["--load-in-4bit"] = {"dtype": "4bit"}
    found, words, together = [], [], dict[str, Any]()
    for said, change in changes.items():
        if all(getattr(job, key) == value for key, value in change.items()):
            continue
        if job.dtype == "4bit" and "dtype" in change:
            continue
        if needed(memory.predict(shape, replace(job, **change)).peak, job.device) <= machine.memory:
            found.append(said)
        words = [w for w in words if not ("dtype" in change and w.startswith(("--dtype", "--load-in-4bit")))] + [said]
        together |= change
        if not found and needed(memory.predict(shape, replace(job, **together)).peak, job.device) <= machine.memory:
            return [" ".join(words)]
    return found
