"""What `yosegi doctor --plan` predicts, from settings: the memory and the time of a training, here or on another machine."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from yosegi.errors import Invalid
from yosegi.estimate import machines
from yosegi.estimate.memory import Job
from yosegi.estimate.shapes import PRESETS, Shape, preset
from yosegi.estimate.verdict import judge

DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "loramoe": {"experts": 6, "rank": 4, "targets": "ffn"},
    "galore": {"rank": 128},
    "galore-per-layer": {"rank": 128},
    "apollo": {"rank": 16},
}
"""What `yosegi train` takes unless it is told; tests hold it against the settings."""


class EstimateSettings(BaseModel):
    """The training that is estimated, and the machine. Names are those of `yosegi train`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

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
    dtype: str = Field(default="fp32", json_schema_extra={"common": True})
    """How the base is held: fp32 or bf16."""
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
    tflops: float | None = None
    """TFLOPS of dense GEMMs, where you know better."""
    bandwidth: float | None = None
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

    def job(self, bf16: bool, device: str) -> Job:
        """Returns the training, with the defaults of its method."""
        own = {"experts": self.experts, "rank": self.rank, "targets": self.targets}
        own = {key: value for key, value in own.items() if value is not None}
        return Job(
            **{"method": self.method, **DEFAULTS.get(self.method, {}), **own}, batch=self.batch_size, length=self.max_length,
            answers=self.answers, dtype="4bit" if self.load_in_4bit else self.dtype, checkpointing=self.activation_checkpointing,
            dropout=self.dropout, bf16=bf16, device=device,
        )  # fmt: skip


def predict(shape: Shape, settings: EstimateSettings) -> dict[str, Any]:
    """Returns whether the training fits, what it holds in memory and how long it takes (`verdict.judge`)."""
    if settings.gpu is None:
        import torch

        cuda = torch.cuda.is_available()
        amx = shape.hidden >= 512 and torch.cpu._is_amx_tile_supported()
        bf16 = settings.precision == "bf16" or (settings.precision == "auto" and (cuda or amx))
        job = settings.job(bf16, "cuda" if cuda else "cpu")
        machine = machines.here(bf16, width=min(shape.hidden, 2048), rows=min(1024, job.tokens))
        machine = replace(machine, count=settings.gpus if cuda else 1)
    else:
        bf16 = settings.precision != "fp32"
        job, machine = settings.job(bf16, "cuda"), machines.published(settings.gpu, bf16, settings.gpus)
    machine = machines.given(machine, settings.tflops, settings.bandwidth)
    return judge(shape, job, machine, settings.tokens, settings.max_steps)


def shape_named(model: str) -> Shape | None:
    """Returns a published size (7b) or plain sizes (hidden=512,inner=1376,layers=8,heads=8,vocab=32000); None for other names."""
    if model.lower() in PRESETS:
        return preset(model)
    if "=" not in model:
        return None
    known = {"hidden", "inner", "layers", "heads", "vocab", "kv_heads", "head_dim"}
    pairs = {name: value for name, _, value in (part.partition("=") for part in model.split(","))}
    needed = ["hidden", "inner", "layers", "heads", "vocab"]
    if (odd := set(pairs) - known) or [name for name in needed if name not in pairs]:
        wrong = f"no {min(odd)!r} is known" if odd else "all of " + ", ".join(needed) + " are needed"
        raise Invalid(f"A model in plain sizes is hidden=…,inner=…,layers=…,heads=…,vocab=…: {wrong}.")
    if not all(value.isdigit() and int(value) for value in pairs.values()):
        raise Invalid("The sizes of a model are whole numbers above 0.")
    sizes: dict[str, Any] = {name: int(value) for name, value in pairs.items()}
    if sizes["hidden"] % sizes["heads"] and "head_dim" not in sizes:
        raise Invalid(f"hidden={sizes['hidden']} is no multiple of heads={sizes['heads']}: say head_dim=… as well.")
    return Shape("a model", **sizes)
