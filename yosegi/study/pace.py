"""What a step of a training costs, so that arms can be compared at equal time: seconds, and megabytes beside the base.

Each arm is timed in turn, in several rounds, and the quickest round counts; on a CPU in seconds of this process, so that a busy
machine slows no arm down. The numbers are kept: a study that goes on compares what it compared before.
"""

import os
import tempfile
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import torch

from yosegi import files
from yosegi.bases import Base
from yosegi.errors import Invalid
from yosegi.estimate.memory import Job, predict
from yosegi.estimate.shapes import of_config
from yosegi.findings import Cell, Finding, Table
from yosegi.inits import fresh
from yosegi.progress import progress
from yosegi.run import Run
from yosegi.training.settings import Settings

ROUNDS = 3
SPARE = 1.02
"""An arm that is at most so much slower leaves the others no time for more steps."""

Steps = Callable[[Run, int], Any]
"""Trains something for so many steps; the run gets a row of metrics for each."""
Pace = Mapping[str, Mapping[str, float]]
"""Arm -> seconds of a step, and the most megabytes that two steps hold beside the base."""


def measure_pace(path: Path, base: Base, trainings: Mapping[str, Steps], steps: int) -> Pace:
    """Times every training, so many steps a round after one that is not timed, and measures its memory; `path` keeps both."""
    if path.exists():
        return files.read_json(path)
    on_cpu = next(base.model.parameters()).device.type == "cpu"
    now = time.process_time if on_cpu else time.monotonic
    seconds: dict[str, list[float]] = {arm: [] for arm in trainings}
    paces: dict[str, dict[str, float]] = {}
    with progress("measure the pace", (ROUNDS + 1) * len(trainings)) as bar, tempfile.TemporaryDirectory() as folder:
        for turn in range(ROUNDS):
            for arm, training in trainings.items():
                run = _Clock(f"{folder}/{turn} {len(seconds[arm])} {hash(arm)}", now)
                training(run, steps + 1)
                seconds[arm].append(median(after - before for before, after in pairwise(run.times)))
                bar.advance(note=arm)
        for arm, training in trainings.items():
            peak = _peak(lambda: training(Run(f"{folder}/memory {hash(arm)}"), 2), on_cpu)  # noqa: B023 - called at once
            paces[arm] = {"seconds": min(seconds[arm]), "peak_mb": peak / 2**20}
            bar.advance(note=arm)
    files.write_json(path, paces)
    return paces


def equal_time(pace: Pace, arm: str, slowest: str, steps: int) -> int | None:
    """Returns the steps that an arm makes in the time of the slowest, if that is worth another training."""
    ratio = pace[slowest]["seconds"] / max(pace[arm]["seconds"], 1e-9)
    return round(steps * ratio) if ratio > SPARE and round(steps * ratio) > steps else None


def equal_rank(base: Base, bank: Settings, experts: int) -> int:
    """Returns the rank of one LoRA that has at least as many parameters as a bank with its routers."""
    one = fresh(base.model, "size", rank=1, alpha=1, targets=bank.targets)
    inner = sum(f.A_RI.shape[1] for f in one.factors.values())
    of_a_rank = inner + sum(f.B_OR.shape[0] for f in one.factors.values())
    return -(-experts * (bank.rank * of_a_rank + inner) // of_a_rank)


def cost_finding(
    pace: Pace,
    costs: Mapping[str, Mapping[str, Any]],
    predicted: Mapping[str, float] | None = None,
) -> Finding:
    """Returns parameters, time and memory of every arm.

    Args:
        pace: what was measured.
        costs: the `metrics` of each arm's card.
        predicted: megabytes beside the base, by arm, as `yosegi.estimate` has them.
    """
    columns = ["", "trainable parameters", "steps", "tokens", "training, s", "ms per step", "peak, MB"]
    rows: list[list[Cell]] = []
    for arm, metrics in costs.items():
        step, memory = (pace.get(arm, {}).get(key) for key in ("seconds", "peak_mb"))
        row: list[Cell] = [arm, *(metrics.get(key) for key in ("trainable_params", "steps", "tokens", "wall_s"))]
        row += [None if step is None else round(1000 * step, 1), None if memory is None else round(memory, 1)]
        if predicted is not None:
            expected = predicted.get(arm)
            row += [expected and round(expected, 1), expected and memory and round(expected / max(memory, 1e-9), 2)]
        rows.append(row)
    columns += ["MB predicted", "predicted / measured"] if predicted is not None else []
    about = (
        "A step was measured by itself, the quickest of three rounds (processor seconds on a CPU), and so was the most that "
        "torch held beside the base. Seconds of training are those of the clock on the wall."
    )
    return Finding("What it costs", [about] if pace else [], Table(columns, rows))


def beside_base(base: Base, methods: Mapping[str, tuple[str, int]], batch: int, length: int) -> dict[str, float]:
    """Returns the megabytes beside the base that `yosegi.estimate` predicts, by arm; nothing for a shape it does not know.

    `methods` has the method (lora, galore or full) and rank of each arm; a step reads `batch` rows of `length` tokens.
    """
    predicted: dict[str, float] = {}
    device = next(base.model.parameters()).device.type
    for arm, (method, rank) in methods.items():
        with suppress(Invalid):
            shape = of_config(base.name, base.model.config)
            plan = predict(shape, Job(method, max(1, rank), batch=batch, length=length, dropout=0.0, device=device))
            predicted[arm] = (plan.peak - (4 * shape.params if method == "lora" else plan.weights)) / 2**20
    return predicted


class _Clock(Run):
    """A run that remembers when each step was over."""

    def __init__(self, path: str, now: Callable[[], float]):
        super().__init__(path)
        self.now, self.times = now, list[float]()

    def log(self, *rows: dict[str, Any], **row: Any) -> None:
        self.times.append(self.now())
        super().log(*rows, **row)


def _peak(act: Callable[[], Any], on_cpu: bool) -> int:
    """Returns the most bytes that `act` held at once, as torch's allocator counts them."""
    if not on_cpu:
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        act()
        return torch.cuda.max_memory_allocated() - before
    with _silence(), torch.profiler.profile(profile_memory=True) as profiler:
        act()
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]  # type: ignore[union-attr]
    held = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()  # type: ignore[attr-defined]
        peak = max(peak, held)
    return peak


@contextmanager
def _silence() -> Generator[None]:
    """Sends stderr nowhere: the profiler reports its start and its end there, and has no option not to."""
    before, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(before, 2)
        os.close(nowhere)
        os.close(before)
