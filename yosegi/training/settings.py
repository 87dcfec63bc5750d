"""How one expert is trained. Names are those of transformers, PEFT and TRL, so that a recipe can be carried over."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Settings(BaseModel):
    """Everything `train` can be told besides what to learn. Unknown names are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    init: str = "kaiming"
    """Initialiser (`yosegi ls inits`)."""
    init_args: dict[str, Any] = {}
    """More of the initialiser's own, such as {"power_steps": 8} for pissa."""
    rank: int = Field(default=8, ge=1)
    """Inner width of the expert."""
    alpha: float = Field(default=16, gt=0)
    """The delta is scaled by alpha / rank."""
    targets: str | list[str] = "all-linear"
    """Linears it touches: all-linear, a regular expression, or names and name endings."""
    dropout: float = Field(default=0.05, ge=0, lt=1)
    """Share of the input the expert does not see in training."""
    objective: str = "sft"
    """What is minimised (`yosegi ls objectives`)."""
    optimizer: str = "adamw"
    """`yosegi ls optimizers`."""
    mask: str = "everything"
    """Which entries move (`yosegi ls masks`)."""
    mask_args: dict[str, Any] = {}
    """More of the mask's own, such as {"share": 0.4} for random."""
    learning_rate: float = Field(default=2e-4, gt=0)
    lr_scheduler_type: Literal["linear", "cosine", "constant", "constant_with_warmup"] = "linear"
    warmup_share: float = Field(default=0.06, ge=0, lt=1)
    """Share of the steps over which the learning rate rises."""
    weight_decay: float = Field(default=0.0, ge=0)
    adam_beta1: float = Field(default=0.9, ge=0, lt=1)
    adam_beta2: float = Field(default=0.999, ge=0, lt=1)
    max_grad_norm: float = Field(default=1.0, gt=0)
    num_train_epochs: float = Field(default=3.0, gt=0)
    """Passes over the data, unless max_steps is given."""
    max_steps: int | None = Field(default=None, ge=1)
    """Optimiser steps."""
    per_device_train_batch_size: int = Field(default=16, ge=1)
    gradient_accumulation_steps: int = Field(default=1, ge=1)
    max_length: int = Field(default=1024, ge=2)
    """Longest sequence in tokens; of a longer one the beginning of the prompt is left out."""
    pack: int | None = Field(default=None, ge=2)
    """Documents end to end in rows of so many tokens, instead of a row each (packing.py); nothing is left out."""
    dtype: Literal["fp32", "bf16"] = "fp32"
    """Precision of the frozen base's weights. The expert is fp32 anyway."""
    load_in_4bit: bool = False
    """Hold the base's linears in NF4, as QLoRA does (pip install 'yosegi[quant]')."""
    activation_checkpointing: bool = False
    """Recompute activations in the backward pass (non-reentrant): less memory, a third more time."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """auto: bf16 on a GPU that has it, and on a CPU with AMX for models of hidden size 512 and more; else fp32."""
    save_steps: int = Field(default=100, ge=1)
    """A checkpoint every so many steps."""
    seed: int = 0
    """Of the data order and dropout."""
    init_seed: int = 0
    """Of the initial A. Keep it the same in one library: experts that start together can be compared and averaged."""
    limit: int | None = Field(default=None, ge=1)
    """At most so many training examples (the first ones)."""


class GrpoSettings(Settings):
    """What `grpo` can be told beyond; the defaults that differ are those of LoRA-PAR's second stage. Names are TRL's.

    `per_device_train_batch_size` is questions a step; each is answered `num_generations` times.
    """

    objective: str = "grpo"
    learning_rate: float = Field(default=5e-6, gt=0)
    lr_scheduler_type: Literal["linear", "cosine", "constant", "constant_with_warmup"] = "cosine"
    warmup_share: float = Field(default=0.1, ge=0, lt=1)
    weight_decay: float = Field(default=0.1, ge=0)
    adam_beta2: float = Field(default=0.99, ge=0, lt=1)
    max_grad_norm: float = Field(default=0.1, gt=0)
    num_train_epochs: float = Field(default=1.0, gt=0)
    per_device_train_batch_size: int = Field(default=8, ge=1)
    pack: None = None  # pyright: ignore[reportIncompatibleVariableOverride]
    """Answers are not packed."""
    dropout: float = Field(default=0.0, ge=0, le=0)
    """None: a probability that is drawn anew each time is no ratio."""
    num_generations: int = Field(default=8, ge=2)
    """Answers to one question, which are compared with each other."""
    temperature: float = Field(default=1.0, gt=0)
    """That the answers are drawn with."""
    max_completion_length: int | None = Field(default=None, ge=1)
    """Tokens of an answer; by default what the task allows."""
    kl_coef: float = Field(default=0.04, ge=0)
    """Weight of the distance from where this stage began (TRL's `beta`, whose default has changed over the years)."""
    epsilon: float = Field(default=0.2, gt=0)
    """How far p may leave p_old before its gain is cut off."""
    num_iterations: int = Field(default=1, ge=1)
    """Updates on one set of answers."""
    loss_type: Literal["grpo", "bnpo"] = "grpo"
    """grpo: the mean of the answers' means; bnpo: the mean of all tokens."""
    scale_rewards: bool = True
    """Divide by the standard deviation of the group."""
    rewards: dict[str, float] = {"correct": 1.0}
    """Reward (`yosegi ls rewards`) -> its weight."""


class DenseSettings(Settings):
    """How whole weights are trained (training/dense.py); the change that they made becomes the expert."""

    rank: int = Field(default=64, ge=0)
    """Of the expert that the change is cut to; 0 keeps all of it."""
    optimizer_args: dict[str, Any] = {}
    """More of the optimizer's own, such as {"rank": 128, "update_gap": 200} for galore."""
    learning_rate: float = Field(default=2e-5, gt=0)
    max_grad_norm: float = Field(default=1.0, ge=0)
    """0 clips nothing."""
    dropout: float = Field(default=0.0, ge=0, le=0)
    """None: there are no factors whose input could be dropped. The model's own stays."""

    @model_validator(mode="after")
    def _has_a_meaning(self) -> "DenseSettings":
        for name in ("alpha", "init", "init_args", "init_seed"):
            if getattr(self, name) != Settings.model_fields[name].default:
                raise ValueError(f"{name} means nothing where whole weights are trained")
        if self.optimizer_args.get("per_layer"):
            if self.max_grad_norm:
                raise ValueError("per_layer needs max_grad_norm 0: no layer knows the gradients of all")
            if self.mask != "everything":
                raise ValueError("per_layer knows no masks")
        return self


class GaloreSettings(DenseSettings):
    """Whole weights under GaLore."""

    optimizer: str = "galore"
    learning_rate: float = Field(default=1e-3, gt=0)
    """A quarter of it moves the weights (`scale`). It wants a sweep: the paper's own are 1e-2 from scratch, 1e-5 for GLUE."""


class ApolloSettings(DenseSettings):
    """Whole weights under APOLLO."""

    optimizer: str = "apollo"
    learning_rate: float = Field(default=2.5e-4, gt=0)
    """All of it moves the weights, as AdamW's does, and it wants a sweep as much."""
