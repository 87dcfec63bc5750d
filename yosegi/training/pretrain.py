"""Pre-train a small causal language model from scratch, on rows of packed tokens.

    matrices of the blocks   Muon    (optimizers/muon.py)
    embeddings and norms     AdamW   the same learning rate serves both
    learning rate            warm-up, constant, then a straight line to zero over the last `decay` of the steps

A training that was killed goes on where its last checkpoint was, and ends with the same weights to the last bit (on a CPU in
fp32): the order of the rows is computed from the seed, everything else that changes is in the checkpoint.

Shapes: N rows, T tokens of a row.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from yosegi.bases import Base
from yosegi.engine.rows import Row
from yosegi.objectives.lm import next_token_loss
from yosegi.run import Run
from yosegi.training.data import LearnerData, steps_of
from yosegi.training.job import Job
from yosegi.training.loop import train_loop
from yosegi.training.settings import Schedule, Settings
from yosegi.training.update import Part

STAGE = "pretrain"


class PretrainSettings(Settings):
    """Settings of `pretrain`; those of experts say nothing here."""

    objective: str = "lm"
    optimizer: str = "muon"
    learning_rate: float = Field(default=4e-3, gt=0)
    lr_scheduler_type: Schedule = "warmup_stable_decay"
    warmup_share: float = Field(default=1 / 60, ge=0, lt=1)
    decay: float = Field(default=0.6, gt=0, lt=1)
    """Share of the steps over which the learning rate falls to zero."""
    weight_decay: float = Field(default=0.1, ge=0)
    adam_beta2: float = Field(default=0.95, ge=0, lt=1)
    precision: Literal["auto", "fp32", "bf16"] = "fp32"
    save_steps: int = Field(default=500, ge=1)


class TokenRows(Sequence[Row]):
    """Packed rows of tokens [N, T], each of which is read and predicted whole."""

    def __init__(self, rows_NT: Tensor):
        self.rows_NT = rows_NT

    def __len__(self) -> int:
        return len(self.rows_NT)

    def __getitem__(self, n: Any) -> Any:
        ids = self.rows_NT[n].tolist()
        return {"input_ids": ids, "labels": ids}


def pretrain(
    model: nn.Module,
    rows_NT: Tensor,
    run: Run,
    settings: PretrainSettings,
    *,
    validation_NT: Tensor | None = None,
    eval_steps: int = 500,
    compile: bool = False,
) -> None:
    """Trains a model in place; every step is a row of the run's metrics.

    Args:
        model: a causal language model, freshly initialised.
        rows_NT: packed tokens (packing.blocks); each epoch reads them in another order.
        run: gets the metrics and the checkpoint; one that is there is resumed.
        settings: of the training. On a CPU, batches that fit its cache and more `gradient_accumulation_steps` are faster.
        validation_NT: rows whose loss is measured before the first step, every `eval_steps` steps and at the end.
        eval_steps: steps from one measurement to the next.
        compile: compile the loss; worth its minute in runs of several.
    """
    steps, batch = steps_of(len(rows_NT), settings)
    falling = {"num_decay_steps": max(1, round(settings.decay * steps)), "decay_type": "linear"}
    settings = settings.model_copy(update={"lr_scheduler_kwargs": {**falling, **settings.lr_scheduler_kwargs}})
    job = Job(Base("new", "", model, None), run, settings)
    job.share(STAGE)
    job.eval_steps = eval_steps
    if validation_NT is not None:
        job.held_out = {STAGE: TokenRows(validation_NT)}
    loss_of: Callable[[nn.Module, Tensor], Tensor] = torch.compile(next_token_loss) if compile else next_token_loss

    def objective(model: nn.Module, batch: Mapping[str, Tensor], tokens_B: Tensor) -> Tensor:
        return loss_of(model, batch["input_ids"]) / tokens_B

    matrices, others = matrices_and_others(model)
    plain, lr = {"rank": None, "weight_decay": 0.0}, settings.learning_rate
    parts = [Part(matrices, lr, steps), Part(others, lr, steps, options=plain)]
    learner = LearnerData(STAGE, TokenRows(rows_NT), (), steps, batch * job.sharing)
    train_loop(job, None, [learner], parts, "pre-train", objective=objective, stage=STAGE)
    model.eval()


def matrices_and_others(model: nn.Module) -> tuple[dict[str, nn.Parameter], dict[str, nn.Parameter]]:
    """Returns the parameters that Muon trains, which map features to features, and the others, embeddings among them."""
    tables = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    if (head := getattr(model, "get_output_embeddings", lambda: None)()) is not None:
        tables.add(id(head.weight))
    matrices = {name: p for name, p in model.named_parameters() if p.ndim == 2 and id(p) not in tables}
    return matrices, {name: p for name, p in model.named_parameters() if name not in matrices}
