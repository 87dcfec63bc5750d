"""What `yosegi doctor --plan` predicts: does a training fit, here or elsewhere, when is it done, what to try if not."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, Literal

from pydantic import Field, model_validator

from yosegi.estimate import machines, memory, pace
from yosegi.estimate.machines import RESERVED, WIDE, Machine, cpu_has_bf16
from yosegi.estimate.memory import WHOLE, Job, Memory
from yosegi.estimate.shapes import Shape
from yosegi.settings import CheckedSettings

GB = 2**30
FACTOR = 1.15
"""Activations are known within so much (benchmarks/bench_plan.py): what would not fit with that much more of them is tight."""

DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "loramoe": {"experts": 6, "rank": 4, "targets": "ffn"},
    "galore": {"rank": 128},
    "galore-per-layer": {"rank": 128},
    "apollo": {"rank": 16},
}
"""The defaults of `yosegi train`; tests hold them against the settings."""


class EstimateSettings(CheckedSettings):
    """The training that is estimated, and the machine. Names are those of `yosegi train`."""

    method: str = Field(default="lora", json_schema_extra={"common": True})
    """full, lora, galore, galore-per-layer, apollo, loramoe, fleet or grpo."""
    experts: int | None = Field(default=None, ge=1, json_schema_extra={"common": True})
    """Experts of a LoRAMoE layer (6) or of a fleet (1)."""
    rank: int | None = Field(default=None, ge=1, json_schema_extra={"common": True})
    """Rank of an expert (8; LoRAMoE 4) or of the projection (GaLore 128, APOLLO 16)."""
    targets: str | list[str] | None = None
    """all-linear, attention, ffn (LoRAMoE's own), or names with commas."""
    batch_size: int = Field(default=16, ge=1, json_schema_extra={"common": True})
    """Sequences of a step, of each expert and GPU."""
    max_length: int = Field(default=1024, ge=2, json_schema_extra={"common": True})
    """Tokens of a sequence."""
    answers: float = 1.0
    """Share of the tokens that are learnt, and need logits."""
    dtype: str = Field(default="auto", json_schema_extra={"common": True})
    """How the base is held: fp32, bf16, or auto, as `yosegi train` decides; on a named GPU that is bf16."""
    load_in_4bit: bool = Field(default=False, json_schema_extra={"common": True})
    """Whether the linears of the blocks are held in four bits."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """What is computed in."""
    activation_checkpointing: bool = False
    """Whether activations are computed again in the backward pass instead of being kept."""
    dropout: float = Field(default=0.05, ge=0, lt=1)
    """Dropout on what an expert reads."""
    gpu: str | None = Field(default=None, json_schema_extra={"common": True})
    """a6000, h100 …, or 48GB; by default this machine."""
    gpus: int = Field(default=1, ge=1)
    """Number of GPUs, each with all of the model."""
    tflops: float | None = Field(default=None, gt=0)
    """TFLOPS of dense GEMMs, where you know better."""
    bandwidth: float | None = Field(default=None, gt=0)
    """GB/s of the machine's memory, where you know better."""
    tokens: float | None = Field(default=None, ge=1)
    """Tokens of the whole training."""
    max_steps: int | None = Field(default=None, ge=1)
    """Steps of the whole training, instead of tokens."""

    @model_validator(mode="after")
    def _consistent(self) -> "EstimateSettings":
        if self.tokens and self.max_steps:
            raise ValueError("--tokens and --max-steps both say how long the training is: give one of them")
        if self.method == "loramoe" and self.experts is not None and self.experts < 2:
            raise ValueError("LoRAMoE has two experts at least")
        return self

    def job(self, dtype: str, bf16: bool, device: str) -> Job:
        """Returns the training, with the defaults of its method."""
        given = {"experts": self.experts, "rank": self.rank, "targets": self.targets}
        given = {key: value for key, value in given.items() if value is not None}
        return Job(
            **{"method": self.method, **DEFAULTS.get(self.method, {}), **given}, batch=self.batch_size, length=self.max_length,
            answers=self.answers, dtype="4bit" if self.load_in_4bit else dtype, checkpointing=self.activation_checkpointing,
            dropout=self.dropout, bf16=bf16, device=device,
        )  # fmt: skip


def predict(shape: Shape, settings: EstimateSettings) -> dict[str, Any]:
    """Returns whether the training fits, what it holds in memory and how long it takes (`judge`)."""
    precise, held = settings.precision, settings.dtype
    if settings.gpu is None:
        import torch

        cuda = torch.cuda.is_available()
        if held == "auto":
            held = "bf16" if shape.hidden >= WIDE and (cuda or cpu_has_bf16()) else "fp32"
        bf16 = precise == "bf16" or (precise == "auto" and (cuda or (held == "bf16" and not settings.load_in_4bit)))
        job = settings.job(held, bf16, "cuda" if cuda else "cpu")
        machine = machines.here(bf16, width=min(shape.hidden, 2048), rows=min(1024, job.tokens))
        machine = replace(machine, count=settings.gpus if cuda else 1)
    else:
        bf16, held = precise != "fp32", "bf16" if held == "auto" else held
        job, machine = settings.job(held, bf16, "cuda"), machines.published(settings.gpu, bf16, settings.gpus)
    flops, bandwidth = (settings.tflops or 0) * 1e12, (settings.bandwidth or 0) * 1e9
    machine = replace(machine, flops=flops or machine.flops, bandwidth=bandwidth or machine.bandwidth)
    return judge(shape, job, machine, settings.tokens, settings.max_steps)


def judge(
    shape: Shape, job: Job, machine: Machine, tokens: float | None = None, steps: int | None = None
) -> dict[str, Any]:
    """Returns everything `yosegi doctor --plan` says; the training has so many tokens, or steps.

    The job is what is trained on each of the machine's devices.
    """
    held = memory.predict(shape, job)
    taken = needed(held, job.device)
    slack = (FACTOR - 1) * (held.activations + held.logits)
    fits = "no" if taken > machine.memory else "tight" if taken + slack > machine.memory else "yes"
    guess, hours = pace.predict(shape, job, machine), None
    if guess is not None and (wanted := tokens if tokens is not None else steps and steps * job.tokens * machine.count):
        rates = {"estimate": guess.tokens_per_s, "low": guess.high, "high": guess.low}
        hours = {name: wanted / rate / 3600 for name, rate in rates.items()}
    return {
        "model": {**asdict(shape), "params": shape.params},
        "job": {**asdict(job), "learnt": memory.moving_params(shape, job), "tokens_of_a_step": job.tokens},
        "machine": asdict(machine),
        "memory": asdict(held),
        "needed": round(taken),
        "fits": fits,
        "pace": None if guess is None else asdict(guess),
        "hours": hours,
        "instead": [] if fits == "yes" else instead(shape, job, machine),
    }


def needed(held: Memory, device: str) -> float:
    """Returns the bytes on the device: the peak, what the libraries take, and what is lost between blocks."""
    fixed, share = RESERVED[device]
    return held.peak * (1 + share) + held.gaps + fixed * GB


def instead(shape: Shape, job: Job, machine: Machine) -> list[str]:
    """Returns what would make it fit, one change and then several: the mildest first."""
    batch = max(1, job.batch // 4)
    changes: dict[str, dict[str, Any]] = {
        "--activation-checkpointing": {"checkpointing": True}, f"--batch-size {batch}": {"batch": batch},
        "--dtype bf16": {"dtype": "bf16"}, "--load-in-4bit": {"dtype": "4bit"},
    }  # fmt: skip
    alone, flags, together = [], [], dict[str, Any]()

    def fits(changed: Mapping[str, Any]) -> bool:
        return needed(memory.predict(shape, replace(job, **changed)), job.device) <= machine.memory

    for flag, change in changes.items():
        precise = "dtype" in change and (job.dtype == "4bit" or (job.method in WHOLE and change["dtype"] == "4bit"))
        if precise or all(getattr(job, key) == value for key, value in change.items()):
            continue
        if fits(change):
            alone.append(flag)
        flags = [f for f in flags if not ("dtype" in change and f == "--dtype bf16")] + [flag]
        together |= change
        if not alone and fits(together):
            return [" ".join(flags)]
    return alone
