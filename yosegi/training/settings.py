"""How one expert is trained. Names are those of transformers, PEFT and TRL, so that settings can be carried over.

Every field is a flag of `yosegi train` or `yosegi reinforce`: its docstring is the help, its default the default. The fields
marked `common` are shown by `--help`; `yosegi show train` lists all of them.
"""

import inspect
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from yosegi import spec
from yosegi.bases import LoadSettings
from yosegi.errors import Invalid, UnknownName, in_one_line
from yosegi.settings import CheckedSettings

# fmt: off
Schedule = Literal[
    "linear", "cosine", "constant", "constant_with_warmup", "polynomial", "inverse_sqrt", "cosine_with_restarts",
    "cosine_with_min_lr", "cosine_warmup_with_min_lr", "warmup_stable_decay",
]
# fmt: on
"""The schedules of transformers that depend on the step alone."""


CUT = frozenset({"tokens_per_pass", "activation_checkpointing"})
"""The settings that say how a step is cut: they change the memory that it takes, and the result by no more than rounding."""


class Settings(LoadSettings):
    """Everything that decides what a training does with its data. Unknown names are refused."""

    rank: int = Field(default=8, ge=1, json_schema_extra={"common": True})
    """Inner width of an expert."""
    alpha: float = Field(default=16, gt=0, json_schema_extra={"common": True})
    """The delta is scaled by alpha / rank."""
    targets: str | list[str] = Field(default="all-linear", json_schema_extra={"common": True})
    """The linears that an expert stands beside: all-linear, a regular expression, or names and name endings."""
    dropout: float = Field(default=0.05, ge=0, lt=1)
    """Share of an expert's input that is dropped in training."""
    init: str = "kaiming"
    """How the factors begin (`yosegi ls inits`)."""
    init_args: dict[str, Any] = {}
    """Arguments of the initialiser, such as {power_steps: 8} for pissa."""
    init_seed: int = 0
    """Seed of the initial A. Experts that start together can be compared and averaged: keep it the same in one library."""
    objective: str = Field(default="sft", json_schema_extra={"common": True})
    """What is minimised (`yosegi ls objectives`): sft learns the answer; lm learns the whole text (continued pre-training)."""
    learning_rate: float = Field(default=2e-4, gt=0, json_schema_extra={"common": True})
    """Highest learning rate of the schedule."""
    lr_scheduler_type: Schedule = "linear"
    """Schedule of the learning rate, by its name in transformers: linear, cosine, constant, constant_with_warmup, polynomial,
    inverse_sqrt, cosine_with_restarts, cosine_with_min_lr, cosine_warmup_with_min_lr or warmup_stable_decay."""
    lr_scheduler_kwargs: dict[str, Any] = {}
    """Arguments of the schedule, such as {num_cycles: 2} for cosine_with_restarts."""
    warmup_share: float = Field(default=0.06, ge=0, lt=1)
    """Share of the steps over which the learning rate rises, rounded up to whole steps."""
    num_train_epochs: float | None = Field(default=None, gt=0, json_schema_extra={"common": True})
    """Passes over the data, unless max_steps is given. By default 3, and of few rows as many as make 100 steps, up to 20."""
    max_steps: int | None = Field(default=None, ge=1, json_schema_extra={"common": True})
    """Optimiser steps, instead of a number of epochs."""
    per_device_train_batch_size: int = Field(default=16, ge=1, json_schema_extra={"common": True})
    """Rows of one expert that each process reads at a time."""
    gradient_accumulation_steps: int = Field(default=1, ge=1, json_schema_extra={"common": True})
    """Batches whose gradients are added up for one optimiser step."""
    max_length: int = Field(default=1024, ge=2, json_schema_extra={"common": True})
    """Longest row in tokens; of a longer one the beginning of the prompt is left out."""
    pack: int | None = Field(default=None, ge=2, json_schema_extra={"common": True})
    """Lay whole documents end to end in rows of so many tokens, instead of one per row; nothing is left out."""
    limit: int | None = Field(default=None, ge=1, json_schema_extra={"common": True})
    """Train on the first so many examples of each task."""
    optimizer: str = "adamw"
    """Optimiser, by its name here (`yosegi ls optimizers`) or in transformers (adamw_8bit, paged_adamw_8bit, lion_8bit, …)."""
    optimizer_args: dict[str, Any] = {}
    """Arguments of the optimiser, such as {rank: 128, update_gap: 200} for galore."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled weight decay."""
    adam_beta1: float = Field(default=0.9, ge=0, lt=1)
    """Decay of the optimiser's mean of gradients."""
    adam_beta2: float = Field(default=0.999, ge=0, lt=1)
    """Decay of the optimiser's mean of squared gradients."""
    max_grad_norm: float = Field(default=1.0, ge=0)
    """Longest gradient, over all entries of an expert that are trained; a longer one is scaled down. 0 clips nothing."""
    mask: str = "everything"
    """Which entries are trained (`yosegi ls masks`)."""
    mask_args: dict[str, Any] = {}
    """Arguments of the mask, such as {share: 0.4} for random."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """What is computed in. auto: bf16 where the base is held in bf16, and on a GPU that has it; else fp32."""
    tokens_per_pass: int | None = Field(default=None, ge=1)
    """Most tokens that go through the base at once, padding included; a step is cut accordingly, with the same result. By default
    4,096 on a CPU and 65,536 on a GPU, or fewer if the free memory is not enough."""
    activation_checkpointing: bool | None = None
    """Compute activations again in the backward pass instead of keeping them: less memory, a third more time. By default only if
    the free memory is not enough."""
    use_liger_kernel: bool = False
    """Replace norms, rotary embeddings and feed-forward blocks of the base by Liger's kernels (pip install liger-kernel)."""
    save_steps: int = Field(default=100, ge=1)
    """Steps from one checkpoint to the next."""
    seed: int = Field(default=0, json_schema_extra={"common": True})
    """Seed of the data order and of dropout."""


class GrpoSettings(Settings):
    """Settings of `grpo`. The defaults that differ are those of LoRA-PAR's second stage; names are TRL's."""

    objective: str = "grpo"
    learning_rate: float = Field(default=5e-6, gt=0, json_schema_extra={"common": True})
    lr_scheduler_type: Schedule = "cosine"
    warmup_share: float = Field(default=0.1, ge=0, lt=1)
    weight_decay: float = Field(default=0.1, ge=0)
    adam_beta2: float = Field(default=0.99, ge=0, lt=1)
    max_grad_norm: float = Field(default=0.1, ge=0)
    num_train_epochs: float = Field(default=1.0, gt=0, json_schema_extra={"common": True})  # pyright: ignore[reportIncompatibleVariableOverride]
    per_device_train_batch_size: int = Field(default=8, ge=1, json_schema_extra={"common": True})
    """Questions of one expert per step; each is answered num_generations times."""
    pack: None = None  # pyright: ignore[reportIncompatibleVariableOverride]
    dropout: float = Field(default=0.0, ge=0, le=0)
    """Always 0: a probability that is drawn anew each time is no ratio."""
    num_generations: int = Field(default=8, ge=2, json_schema_extra={"common": True})
    """Answers to one question, which are compared with each other."""
    temperature: float = Field(default=1.0, gt=0, json_schema_extra={"common": True})
    """Temperature at which the answers are drawn."""
    max_completion_length: int | None = Field(default=None, ge=1, json_schema_extra={"common": True})
    """Most tokens of an answer; by default what the task allows."""
    kl_coef: float = Field(default=0.04, ge=0, json_schema_extra={"common": True})
    """Weight of the distance from where this training began (TRL's `beta`)."""
    epsilon: float = Field(default=0.2, gt=0)
    """How far the ratio of probabilities may leave 1 before its gain is cut off."""
    num_iterations: int = Field(default=1, ge=1)
    """Updates on one set of answers."""
    loss_type: Literal["grpo", "bnpo"] = "grpo"
    """grpo: the mean of the answers' means; bnpo: the mean of all tokens."""
    scale_rewards: bool = True
    """Divide advantages by the standard deviation of their group."""
    rewards: dict[str, float] = Field(default={"correct": 1.0}, json_schema_extra={"common": True})
    """Rewards (`yosegi ls rewards`) with their weights, such as {correct: 1, soft_format: 0.5}."""


class DenseSettings(Settings):
    """Settings of a training of whole weights (training/dense.py); the change that they made becomes the expert."""

    rank: int = Field(default=64, ge=0, json_schema_extra={"common": True})
    """Rank that the change is cut to; 0 keeps all of it."""
    learning_rate: float = Field(default=2e-5, gt=0, json_schema_extra={"common": True})
    dropout: float = Field(default=0.0, ge=0, le=0)
    """Always 0: there are no factors whose input could be dropped. The model's own dropout stays."""

    @model_validator(mode="after")
    def _fields_apply(self) -> "DenseSettings":
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
    """Settings of whole weights under GaLore."""

    optimizer: str = "galore"
    learning_rate: float = Field(default=1e-3, gt=0, json_schema_extra={"common": True})
    """Highest learning rate; a quarter of it moves the weights (`scale`). The paper takes 1e-2 from scratch, 1e-5 for GLUE."""


class ApolloSettings(DenseSettings):
    """Settings of whole weights under APOLLO."""

    optimizer: str = "apollo"
    learning_rate: float = Field(default=2.5e-4, gt=0, json_schema_extra={"common": True})
    """Highest learning rate; all of it moves the weights, as AdamW's does."""


class RouterSettings(LoadSettings):
    """Settings of `train_router`. What is left open depends on how the router learns (training/routers.py)."""

    granularity: Literal["module", "layer", "block", "global"] = Field(
        default="module", json_schema_extra={"common": True}
    )
    """Which linears share a weight, of static and softmax."""
    steps: int | None = Field(default=None, ge=1, json_schema_extra={"common": True})
    """Steps of gradient; by default 100 for phatgoose, static and softmax, 500 for predictor."""
    learning_rate: float | None = Field(default=None, gt=0, json_schema_extra={"common": True})
    """Learning rate; by default 5e-3 for phatgoose, 1e-3 for predictor, 1e-2 for static and softmax."""
    batch_size: int | None = Field(default=None, ge=1, json_schema_extra={"common": True})
    """Rows at a time; for phatgoose of each expert."""
    limit: int | None = Field(default=None, ge=1, json_schema_extra={"common": True})
    """Most examples of each task; by default 10 for centroid, 500 for predictor, retrieval, static and softmax."""
    max_length: int = Field(default=1024, ge=2)
    """Longest row in tokens."""
    save_steps: int = Field(default=100, ge=1)
    """Steps from one checkpoint to the next."""
    seed: int = Field(default=0, json_schema_extra={"common": True})
    """Seed of the examples drawn, their order, and the router's start."""


FFN = r".*\.(mlp|mlp_block|ffn|feed_forward|DenseReluDense)\.\w+|.*\.(fc1|fc2)"
"""The linears of the feed-forward blocks, as Llama and its kin, GPT-2, NeoX, RecurrentGemma, T5 and OPT call them."""


class Build(CheckedSettings):
    """The arguments of one way to fill a library: `--build 'mbc{clusters=10}'`."""


class Private(Build):
    """One expert for each task."""


class Shared(Build):
    """One expert for all tasks together."""


class Random(Build):
    """One expert for each of several clusters of tasks, drawn at random: what clustering itself is worth."""

    clusters: int = Field(default=10, ge=1)
    """Number of clusters."""
    brief: float = Field(default=0.4, ge=0, lt=1)
    """Share of the epochs that the private phase of MBC takes: two of five in the paper's only public script."""
    cluster_seed: int = 42
    """Seed of k-means, and of random clusters."""


class Mbc(Random):
    """Private experts, trained briefly, tell which tasks belong together; then one expert for each cluster of tasks."""

    space: Literal["factors", "moved", "delta"] = "factors"
    """What is compared of the private experts: their factors, what training has moved of these, or their deltas."""
    after: Literal["short", "full"] = "short"
    """The private experts train for `brief` of the epochs, as in the paper, or for all of them, which costs that much more."""


class Poly(Build):
    """A few experts that all tasks share, and a table of the weights with which each task uses them."""

    experts: int = Field(default=8, ge=2)
    """Number of experts."""
    router_learning_rate: float = Field(default=0.1, gt=0)
    """Learning rate of the table's logits."""


class Mhr(Poly):
    """Poly, with weights of its own for each slice of a layer."""

    heads: int = Field(default=4, ge=1)
    """Slices of a layer that are mixed on their own."""


class MoeOptions(Build):
    """What LoRAMoE knows beside the settings of every training. The defaults are those of the paper and of its script."""

    router_learning_rate: float | None = Field(default=None, gt=0)
    """Learning rate of the router; by default the experts'."""
    scope: Literal["projection", "ffn"] = "projection"
    """A router for each projection, or one for each block."""
    top_k: int | None = Field(default=None, ge=1)
    """Active experts of a token; by default all."""
    temperature: float = Field(default=1.0, gt=0)
    """Temperature of the router."""
    router_start: Literal["zero", "random"] = "zero"
    """Where the router begins: at zero, with equal weights, or at random as in the authors' code."""
    beta: float = Field(default=0.1, ge=0)
    """Weight of the balancing constraint."""
    delta: float = Field(default=0.1, ge=0, le=1)
    """How far apart the constraint wants the types."""
    expert_types: list[int] | None = None
    """The type of each expert, counted as the data have them; by default the experts are shared out evenly, in order."""
    lbc: Literal["cv2", "dispersion"] = "cv2"
    """σ²/μ² as in the authors' code, or the paper's σ²/μ."""
    counted: Literal["real", "all", "answer"] = "real"
    """Tokens that the constraint counts."""
    match: Literal["paper", "attract"] = "paper"
    """attract: examples come to use the experts of their own type more, not those of the others."""
    reduce: Literal["sum", "mean"] = "sum"
    """How the constraint is taken over the layers."""
    shares: dict[str, float] | None = None
    """How often each type (or task) is read, relative to the others; by default by its size."""
    share_temperature: float = Field(default=1.0, gt=0)
    """Above 1 evens the shares out."""
    curriculum: list[str] = []
    """Types (or tasks) from easy to hard."""
    pace: Literal["growing", "staged"] = "growing"
    """growing: one more joins at a time; staged: one after the other."""


class Loramoe(MoeOptions):
    """Experts in every feed-forward block, weighted token by token by a router that learns with them, balanced by type."""

    experts: int = Field(default=6, ge=2)
    """Number of experts."""
    types: list[str] = []
    """Rules that give each example a type, the first that holds: "easy: level <= 2" by a field, "knowledge: task == niilc" by
    task, "hard" for the rest. By default each task is a type."""


class LoraMoeSettings(Settings, MoeOptions):
    """Settings of `loramoe`: those of the training and those of the bank."""

    objective: str = Field(default="balance", pattern="^balance$")
    rank: int = Field(default=4, ge=1, json_schema_extra={"common": True})
    alpha: float = Field(default=32, gt=0, json_schema_extra={"common": True})
    targets: str | list[str] = Field(default=FFN, json_schema_extra={"common": True})
    lr_scheduler_type: Schedule = "cosine"
    warmup_share: float = Field(default=0.03, ge=0, lt=1)
    pack: None = None  # pyright: ignore[reportIncompatibleVariableOverride]


BUILDS: dict[str, type[Build]] = {
    "private": Private, "shared": Shared, "mbc": Mbc, "random": Random, "poly": Poly, "mhr": Mhr, "loramoe": Loramoe,
}  # fmt: skip
"""The ways to fill a library, by name."""
BANKS = ("poly", "mhr", "loramoe")
"""Those whose experts learn with a router."""
METHODS: dict[str, tuple[type[Settings], dict[str, Any]]] = {
    "lora": (Settings, {"init": "kaiming"}), "pissa": (Settings, {"init": "pissa"}), "olora": (Settings, {"init": "olora"}),
    "galore": (GaloreSettings, {}), "apollo": (ApolloSettings, {}), "full": (DenseSettings, {}),
}  # fmt: skip
"""The ways to train an expert: their settings, and what the name alone decides."""


def check(model: type[Any], fields: Mapping[str, Any]) -> Any:
    """Returns the settings of a class; what is wrong with them is said in one line, with the nearest name.

    Raises:
        Invalid: a field is unknown, or cannot have this value.
    """
    with in_one_line(model.model_fields):
        return model(**fields)


def make_build(text: str) -> Build:
    """Returns the way to fill a library that a spec describes: `mbc{clusters=10}`."""
    name, options = spec.read(text)
    UnknownName.check("build", [name], BUILDS)
    known = {
        key: inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, annotation=field.annotation)
        for key, field in BUILDS[name].model_fields.items()
    }
    return check(BUILDS[name], spec.typed(name, options, known))


def make_settings(method: str, build: Build, fields: Mapping[str, Any]) -> Settings:
    """Returns the settings of a method (`galore{update_gap=50}`) and a build, with these fields on top."""
    name, options = spec.read(method)
    UnknownName.check("method", [name], METHODS)
    kind, decided = METHODS[name]
    if isinstance(build, Loramoe) and kind is Settings:
        kind, options_of_build = LoraMoeSettings, build.model_dump(exclude_unset=True, exclude={"experts", "types"})
        fields = {**options_of_build, **fields}
    if name in ("pissa", "olora") and fields.get("init", name) != name:
        raise Invalid(f"The method {name} begins at {name}, not at {fields['init']!r}.")
    drawer, argument = ("optimizers", "optimizer_args") if issubclass(kind, DenseSettings) else ("inits", "init_args")
    by = kind.model_fields["optimizer"].default if drawer == "optimizers" else {**decided, **fields}["init"]
    given = spec.typed(name, options, spec.arguments(drawer, by)) if options else {}
    fields = {**decided, **fields}
    return check(kind, {**fields, argument: {**(fields.get(argument) or {}), **given}} if given else fields)
