"""TRL's SFTTrainer with our objective, our optimizer and our files. The loop, accumulation, DDP and bf16 are theirs."""

# Transformers types its Trainer for every back end at once.
# pyright: reportOptionalMemberAccess=false, reportAttributeAccessIssue=false, reportArgumentType=false
# pyright: reportIncompatibleMethodOverride=false

import math
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import SequentialSampler
from transformers import TrainerCallback
from trl.trainer.sft_trainer import SFTTrainer

from yosegi import files
from yosegi.errors import Diverged
from yosegi.masks import hold
from yosegi.progress import Bar
from yosegi.run import Run
from yosegi.training import checkpoint


class ExpertTrainer(SFTTrainer):
    """Trains what `parameters` names and nothing else.

    Args:
        parameters: what moves, by its name in the model.
        objective: (model, batch, tokens) -> loss.
        optimizer: over those parameters.
        mask: which entries move; None for all.
        checkpoint_folder: where the state of the training lies.
        what: what is being trained, for the checkpoint to remember.
        run: gets one row of metrics a step.
        bar: is advanced once a step.
        interrupted: not empty once somebody pressed Ctrl-C.
        tokens: how many were read after 0, 1, 2, … steps.
        look: called in the main process with each step that was taken; gives the seconds that are none of the training's.
    """

    loss_is_scaled_for_ga = True  # the objective divides by the tokens of the whole step

    def __init__(
        self,
        *,
        parameters: Mapping[str, nn.Parameter],
        objective: Any,
        optimizer: torch.optim.Optimizer,
        mask: dict[str, Tensor] | None,
        checkpoint_folder: Path,
        what: Mapping[str, Any],
        run: Run,
        bar: Bar,
        interrupted: list[int],
        tokens: Sequence[int],
        look: Callable[[int], float],
        **arguments: Any,
    ):
        with _as_if_whole(arguments["model"]):
            super().__init__(optimizers=(optimizer, None), **arguments)
        vars(self.model).pop("forward", None)  # TRL's fused head; our objective asks only for the logits it needs
        self.parameters, self.objective = parameters, objective
        self.checkpoint_folder, self.what = checkpoint_folder, what
        self.run, self.bar, self.interrupted, self.tokens, self.look = run, bar, interrupted, tokens, look
        self.model_accepts_loss_kwargs = True  # count the target tokens of a step, over micro-batches and processes
        self._loss_shifts_labels = not self.model.config.is_encoder_decoder
        self.began: tuple[int, float] | None = None
        self.speed: int | None = None
        self.pop_callback(next(c for c in self.callback_handler.callbacks if type(c).__name__ == "PrinterCallback"))
        self.add_callback(_EveryStep(self))
        if mask is not None:
            hold(optimizer, parameters, mask)

    def _get_train_sampler(self, train_dataset: Any = None) -> SequentialSampler:
        """The rows come in their order (batches.order), so that processes and resumed runs agree about it."""
        return SequentialSampler(self.train_dataset)

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Tensor:
        """Our objective. DDP averages over processes what is already divided by the tokens of all of them."""
        loss = self.objective(model, inputs, num_items_in_batch) * self.accelerator.num_processes
        if not math.isfinite(value := loss.item()):
            raise self._diverged(f"loss is {value}")
        return loss

    def _clip_grad_norm(self, model: nn.Module) -> Any:
        norm = super()._clip_grad_norm(model)
        if not math.isfinite(float(norm)):
            raise self._diverged("gradient is not finite")
        return norm

    def _diverged(self, how: str) -> Diverged:
        # Before the update, so that neither the expert nor a checkpoint ever holds it.
        saved = self.checkpoint_folder.exists()
        kept = f"the last good state stays in {self.checkpoint_folder}" if saved else "nothing was saved yet"
        step, rate = self.state.global_step + 1, self._get_learning_rate()
        return Diverged(
            f"Training {self.what['name']!r}: the {how} at step {step} (learning rate {rate:.2g}); {kept}. "
            "Start anew (--fresh) with a lower learning rate."
        )

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """One row of metrics.jsonl a step, from the main process."""
        if "loss" in logs and self.is_world_process_zero():
            step, (before, started) = self.state.global_step, self.began or (0, time.monotonic())
            wall_s = time.monotonic() - started
            self.speed = round((self.tokens[step] - before) / max(wall_s, 1e-9))
            self.run.log(
                step=step,
                stage="sft",
                expert=self.what["name"],
                loss=logs["loss"],
                lr=logs["learning_rate"],
                grad_norm=logs.get("grad_norm"),
                tokens=self.tokens[step],
                tokens_per_s=self.speed,
                wall_s=round(wall_s, 2),
            )
            self.bar.note = f"loss {logs['loss']:.3f}"
            self.began = before, started + self.look(step)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        if self.is_world_process_zero():
            with files.new_folder(self.checkpoint_folder) as new:
                schedule = self.lr_scheduler.state_dict()
                plain = {k: v for k, v in schedule.items() if isinstance(v, int | float | list)}
                checkpoint.save_state(new, self.parameters, self.optimizer, plain, self.what)
                self.state.save_to_json(str(new / "trainer_state.json"))
        self.accelerator.wait_for_everyone()

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        checkpoint.load_parameters(Path(resume_from_checkpoint), self.parameters)

    def _load_optimizer_and_scheduler(self, folder: str | None) -> None:
        if folder is not None:
            inner = getattr(self.optimizer, "optimizer", self.optimizer)  # accelerate wraps it
            self.lr_scheduler.load_state_dict(checkpoint.load_optimizer(Path(folder), inner))

    def _load_rng_state(self, folder: str | None) -> None:
        if folder is not None:
            checkpoint.load_rng(Path(folder))

    def _send_telemetry(self) -> None:
        """Nothing leaves this machine."""


@contextmanager
def _as_if_whole(model: nn.Module) -> Generator[None]:
    """Nobody sees that the base is quantised: transformers would miss PEFT's adapters, and TRL would round ours to bf16."""
    said = {name: vars(model)[name] for name in ("is_quantized", "is_loaded_in_4bit") if name in vars(model)}
    vars(model).update(dict.fromkeys(said, False))
    try:
        yield
    finally:
        vars(model).update(said)


class _EveryStep(TrainerCallback):
    """Advances the bar; stops after a checkpoint when interrupted."""

    def __init__(self, trainer: ExpertTrainer):
        self.trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.trainer.began = self.trainer.tokens[state.global_step], time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.trainer.bar.advance()
        if self.trainer.interrupted:
            control.should_save = control.should_training_stop = True
