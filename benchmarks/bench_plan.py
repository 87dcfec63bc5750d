"""How near are the predictions of `yosegi doctor --plan` to what a training here takes?

Memory    of a forward pass, a backward pass and a step of AdamW, twice, as torch's allocator counted it (side_by_side.peak_bytes:
          deterministic, and without Python and the libraries). The weights are there before and are added. Beside it, where
          it says "process", a fresh process is asked for its largest resident size (VmHWM): what the operating system saw.
          With --base smollm2: trainings, GRPO and evaluation as the verbs do them, each in a process of its own; libraries,
          loading and checkpoints included, VmHWM against all that the plan says is needed.
Time      the median CPU time of a step, against the GEMM and the copy measured just before by the plan itself.
Expected  memory within 15 % (`plan.verdict.FACTOR`), time within a factor of 2.5 (`plan.machines.APART`).

Ratios are predicted / measured: above 1 the plan is careful. The loss is over all tokens. The last rows are the table of GaLore's
paper: there "measured" is what was published.
"""

import argparse
import dataclasses
import gc
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import torch
from side_by_side import Row, clock, options, peak_bytes, tell
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from yosegi import tasks, train
from yosegi.bases import load
from yosegi.core.model import attach
from yosegi.engine.arm import Arm
from yosegi.engine.score import score_answers
from yosegi.estimate import memory, pace
from yosegi.estimate.machines import Machine, here
from yosegi.estimate.memory import WHOLE, Job
from yosegi.estimate.predict import needed
from yosegi.estimate.shapes import FFN, Shape, of_config
from yosegi.estimate.table import table
from yosegi.inits import fresh
from yosegi.objectives.lm import lm
from yosegi.optimizers.adamw import adamw
from yosegi.routers.by_request import ByRequest
from yosegi.routers.softmax import Softmax
from yosegi.routers.uniform import Uniform
from yosegi.run import Run
from yosegi.tasks import Example
from yosegi.training.grpo import grpo, questions
from yosegi.training.settings import GrpoSettings

MB = 2**20
SIZES = {"nano": (128, 320, 4, 4, 250), "small": (256, 688, 6, 4, 4000), "medium": (512, 1376, 6, 8, 8000)}
JOBS = [
    ("nano", Job("full", embeddings=True, batch=32, length=64)),
    ("nano", Job("lora", batch=32, length=64)),
    ("nano", Job("fleet", experts=16, batch=4, length=64)),
    ("small", Job("full", embeddings=True, batch=4, length=128)),
    ("small", Job("lora", batch=4, length=128)),
    ("small", Job("lora", batch=4, length=128, dropout=0)),
    ("small", Job("lora", batch=4, length=128, checkpointing=True)),
    ("small", Job("lora", batch=4, length=128, dtype="bf16", bf16=True)),
    ("small", Job("loramoe", experts=8, rank=4, batch=4, length=128, targets="ffn")),
    ("medium", Job("full", embeddings=True, batch=2, length=128)),
    ("medium", Job("lora", batch=2, length=128)),
    ("medium", Job("loramoe", experts=8, rank=4, batch=2, length=128, targets="ffn")),
]
APART = [JOBS[3], JOBS[4], JOBS[11]]
"""Those that a fresh process does as well."""
TRAIN = {"chat_template": "none", "max_steps": 2}
CELLS = [
    (Job(batch=4, length=64), {}),
    (Job(batch=8, length=128), {}),
    (Job(batch=8, length=128, checkpointing=True), {"activation_checkpointing": True}),
    (Job("fleet", experts=4, batch=4, length=64), {}),
    (Job("fleet", experts=4, batch=4, length=64, tokens_per_pass=256), {"tokens_per_pass": 256}),
    (Job("loramoe", experts=4, rank=4, batch=4, length=96, targets="ffn"), {"build": "loramoe{experts=4}"}),
    (Job("loramoe", experts=4, batch=4, length=96), {"build": "poly{experts=4}"}),
    (Job("galore", rank=128, batch=4, length=64, dropout=0), {"method": "galore"}),
    (Job("full", batch=4, length=64, dropout=0), {"method": "full"}),
    (Job("grpo", experts=2, batch=2, generations=4, length=64, dropout=0), {}),
    (Job("eval", experts=4, batch=64, length=64, dropout=0), {}),
    (Job(batch=2, length=32, dtype="bf16", bf16=True), {"dtype": "bf16"}),
]
"""Cells on a pretrained base, and the settings that they are beside the defaults. Half of the tokens are answers."""
QUICK = [("nano", Job("lora", batch=2, length=32)), ("nano", Job("full", embeddings=True, batch=2, length=32))]


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


def pretrained(name: str) -> list[Row]:
    """Returns a row for each of the cells, the largest resident size of its process against what the plan says is needed."""
    shape, rows = of_config(name, load(name).model.config), list[Row]()
    for job, settings in CELLS:
        job = dataclasses.replace(job, answers=0.5)
        call = f"b.real({name!r}, b.Job(**{vars(job)!r}), {settings!r})"
        done = subprocess.run(
            [sys.executable, "-c", f"import bench_plan as b; {call}"], capture_output=True, text=True, cwd=sys.path[0]
        )
        if done.returncode:
            raise RuntimeError(done.stderr[-2000:])
        guess, taken = needed(memory.predict(shape, job), "cpu"), int(done.stdout.split()[-1])
        row: Row = {
            "what": " ".join([job.method, *([f"E {job.experts}"] if job.experts > 1 else []), str(settings or "")]),
            "rows": f"{job.rows} x {job.length}",
            "MB predicted": guess / MB,
            "MB measured": taken / MB,
            "ratio": guess / taken,
        }
        print(json.dumps(row), file=sys.stderr, flush=True)
        rows.append(row)
    return rows


def real(name: str, job: Job, settings: dict[str, Any]) -> None:
    """What the process of one cell does: the verb itself, on rows of one length."""
    torch.set_num_threads(1)
    base = load(name, dtype=settings.get("dtype", "fp32"), chat_template="none")
    answer = job.length // 2
    texts = [
        Example(f"{n}", "the" + " the" * (job.length - answer - 1), " the" * (answer - 1)) for n in range(job.batch)
    ]
    with tempfile.TemporaryDirectory() as folder:
        library, run = f"{folder}/library", f"{folder}/run"
        if job.method in ("grpo", "eval"):
            experts = [fresh(base.model, f"e{e}", rank=8, alpha=16, targets="all-linear") for e in range(job.experts)]
        if job.method == "grpo":
            asked = questions(tasks.load("skills/sort"), texts)
            sizes = {"per_device_train_batch_size": job.batch, "num_generations": job.generations}
            how = GrpoSettings(max_steps=1, max_completion_length=answer, **sizes)
            grpo(base, experts, {e.name: asked for e in experts}, Run(run), how)
        elif job.method == "eval":
            score_answers(base, texts)
            with Arm("uniform", experts, "uniform").attached(base) as banks:
                score_answers(base, texts, banks=banks)
        else:
            data = {f"t{e}": texts for e in range(job.experts if job.method == "fleet" else 1)}
            how = {**TRAIN, "max_length": job.length, "per_device_train_batch_size": job.batch, **settings}
            train(data, base, library, run=run, **how)
    print(int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024)


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    """Every cell, then the published table."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--base", help="cells on this pretrained base instead")
    own, rest = parser.parse_known_args(arguments)
    chosen = options(__doc__, rest)
    if own.base:
        return tell(__doc__, pretrained(own.base), chosen)
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
