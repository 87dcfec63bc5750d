"""How near are the predictions of `yosegi doctor --plan` to what a training here takes?

Memory    of a forward pass, a backward pass and a step of AdamW, twice, as torch's allocator counted it (side_by_side.peak_bytes:
          deterministic, and without Python and the libraries). The weights are there before and are added. Beside it, where
          it says "process", a fresh process is asked for its largest resident size (VmHWM): what the operating system saw.
Time      the median CPU time of a step, against the GEMM and the copy measured just before by the plan itself.
Expected  memory within 15 % (`plan.verdict.FACTOR`), time within a factor of 2.5 (`plan.machines.APART`).

Ratios are predicted / measured: above 1 the plan is careful. The loss is over all tokens. The last rows are the table of GaLore's
paper: there "measured" is what was published.
"""

import dataclasses
import gc
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import torch
from side_by_side import Row, clock, options, peak_bytes, tell
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from yosegi.core.model import attach
from yosegi.estimate import memory, pace
from yosegi.estimate.machines import Machine, here
from yosegi.estimate.memory import WHOLE, Job
from yosegi.estimate.shapes import FFN, Shape, of_config
from yosegi.estimate.table import table
from yosegi.inits import fresh
from yosegi.objectives.lm import lm
from yosegi.optimizers.adamw import adamw
from yosegi.routers.by_request import ByRequest
from yosegi.routers.softmax import Softmax
from yosegi.routers.uniform import Uniform

MB = 2**20
SIZES = {"nano": (128, 320, 4, 4, 250), "small": (256, 688, 6, 4, 4000), "medium": (512, 1376, 6, 8, 8000)}
JOBS = [
    ("nano", Job("full", batch=32, length=64)),
    ("nano", Job("lora", batch=32, length=64)),
    ("nano", Job("fleet", experts=16, batch=4, length=64)),
    ("small", Job("full", batch=4, length=128)),
    ("small", Job("lora", batch=4, length=128)),
    ("small", Job("lora", batch=4, length=128, dropout=0)),
    ("small", Job("lora", batch=4, length=128, checkpointing=True)),
    ("small", Job("lora", batch=4, length=128, dtype="bf16", bf16=True)),
    ("small", Job("loramoe", experts=8, rank=4, batch=4, length=128, targets="ffn")),
    ("medium", Job("full", batch=2, length=128)),
    ("medium", Job("lora", batch=2, length=128)),
    ("medium", Job("loramoe", experts=8, rank=4, batch=2, length=128, targets="ffn")),
]
APART = [JOBS[3], JOBS[4], JOBS[11]]
"""Those that a fresh process does as well."""
QUICK = [("nano", Job("lora", batch=2, length=32)), ("nano", Job("full", batch=2, length=32))]


class Training:
    """A random model and one batch; `step` is one step of a training."""

    def __init__(self, size: str, job: Job):
        torch.manual_seed(0)
        hidden, inner, layers, heads, vocab = SIZES[size]
        config = LlamaConfig(
            vocab_size=vocab, hidden_size=hidden, intermediate_size=inner, num_hidden_layers=layers,
            num_attention_heads=heads, num_key_value_heads=heads, max_position_embeddings=256,
        )  # fmt: skip
        self.shape: Shape = of_config(size, config)
        model: Any = LlamaForCausalLM(config).to(torch.bfloat16 if job.dtype == "bf16" else torch.float32)  # type: ignore[arg-type]
        ids_BT = torch.randint(3, vocab, (job.rows, job.length))
        self.batch = {"input_ids": ids_BT, "labels": ids_BT, "attention_mask": torch.ones_like(ids_BT)}
        if job.method not in WHOLE:
            start = fresh(model, "e", rank=job.rank, alpha=8, targets=FFN if job.targets == "ffn" else job.targets)
            experts = [dataclasses.replace(start, name=f"e{e}") for e in range(job.experts)]
            router = {"loramoe": Softmax, "fleet": ByRequest}.get(job.method, Uniform)()
            banks = attach(model, experts, router, dropout=job.dropout)
            asked = [f"e{row * job.experts // job.rows}" for row in range(job.rows)] if job.method == "fleet" else None
            banks.set_batch(mask_BT=self.batch["attention_mask"], experts=asked)
        if job.checkpointing:
            model.activation_checkpointing_enable({"use_reentrant": False})
        self.model = model.train()
        self.optimizer = adamw([p for p in model.parameters() if p.requires_grad], 1e-3)

    def step(self) -> Tensor:
        """Forward, backward, update."""
        loss = lm(self.model, self.batch, self.batch["labels"].numel())
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.detach()

    def weights(self) -> int:
        """Bytes that are there before the first step."""
        return sum(p.numel() * p.element_size() for p in self.model.parameters())


def measure(size: str, job: Job, machine: Machine, steps: int, apart: bool) -> Row:
    """One line: memory and time, predicted and measured."""
    training = Training(size, job)
    guessed = memory.predict(training.shape, job)
    taken = training.weights() + peak_bytes(lambda: (training.step(), training.step()))
    seconds = statistics.median(clock(training.step) for _ in range(steps))
    guess = pace.predict(training.shape, job, machine)
    assert guess is not None
    row: Row = {
        "model": f"{size}, {training.shape.params / 1e6:.1f} M",
        "method": job.method + (f" E {job.experts}" if job.experts > 1 else ""),
        "how": " ".join(
            [f"{job.batch} x {job.length}", job.dtype, *(["checkpointed"] if job.checkpointing else [])]
            + (["no dropout"] if job.method not in WHOLE and not job.dropout else [])
        ),
        "MB predicted": guessed.peak / MB,
        "MB measured": taken / MB,
        "memory ratio": guessed.peak / taken,
        "s predicted": guess.step_s,
        "s measured": seconds,
        "time ratio": guess.step_s / seconds,
    }
    if apart:
        row["process MB"] = _process(size, job) / MB
        row["process ratio"] = guessed.peak / MB / row["process MB"]
    return row


def _process(size: str, job: Job) -> int:
    """How much more a fresh process holds at its largest after two steps than with the libraries alone."""
    program = f"import bench_plan as b; b.alone({size!r}, b.Job(**{vars(job)!r}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=sys.path[0])
    return int(done.stdout.split()[-1])


def alone(size: str, job: Job) -> None:
    """What the fresh process does."""
    torch.set_num_threads(1)
    Training("nano", dataclasses.replace(job, batch=1, length=16)).step()  # libraries warm up, and take what they take
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # else the peak of the imports would hide ours
    before = psutil.Process().memory_info().rss
    training = Training(size, job)
    training.step(), training.step()
    status = Path("/proc/self/status").read_text()  # getrusage would begin with the size of the parent
    print(int(status.partition("VmHWM:")[2].split()[0]) * 1024 - before)


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    """Every cell, then the published table."""
    chosen = options(__doc__, arguments)
    rows: list[Row] = []
    for size, job in QUICK if chosen.quick else JOBS:
        width, rows_of = SIZES[size][0], min(1024, job.at_once)
        seconds = 0.1 if chosen.quick else 1.0
        machine = here(job.bf16, width=width, rows=rows_of, seconds=seconds, clock=time.process_time)
        rows.append(measure(size, job, machine, 2 if chosen.quick else 5, apart=(size, job) in APART))
        print(
            f"{size} {job.method}: memory {rows[-1]['memory ratio']:.2f}, time {rows[-1]['time ratio']:.2f}",
            file=sys.stderr,
        )
    for line in table():
        if line.published_optimizer is not None and line.method != "galore-per-layer":
            rows.append(
                {
                    "model": line.size,
                    "method": f"{line.method}, GaLore's table",
                    "how": f"rank {line.rank}: weights + optimiser state",
                    "MB predicted": (line.weights + line.optimizer) * 1024,
                    "MB measured": ((line.published_weights or 0) + line.published_optimizer) * 1024,
                    "memory ratio": (line.weights + line.optimizer)
                    / ((line.published_weights or 0) + line.published_optimizer),
                }
            )
    for row in rows:
        agree_within(row)
    return tell(__doc__, rows, chosen)


def agree_within(row: Row) -> None:
    """A plan that is wrong by more than it says is no plan."""
    if not 0.7 < row["memory ratio"] < 1.4:
        raise AssertionError(f"{row['model']} {row['method']}: predicted / measured is {row['memory ratio']:.2f}.")


if __name__ == "__main__":
    main()
