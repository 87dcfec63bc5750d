"""A job: what all parts of one training share, from its settings to the cards of the experts that it trained.

    settings -> rows -> attach -> loop -> card

A learner is an expert of a fleet, a bank with its router, the gates of an expert, or the weights of a model. Under `accelerate
launch` several learners are dealt out to the processes; one alone is shared: each process reads its part of the rows.
"""

import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypedDict

import torch
from torch import Tensor

from yosegi import files
from yosegi.bases import Base
from yosegi.core.expert import Expert
from yosegi.core.mix import named
from yosegi.core.model import Banks, attach
from yosegi.core.router import Router
from yosegi.engine.rows import Row, cut_words, targets_of
from yosegi.errors import Diverged, Invalid, MissingExtra, NotFinite
from yosegi.estimate.memory import TOKENS
from yosegi.run import Run, peak_memory
from yosegi.tasks import Example
from yosegi.training.data import TrainingData, read, total
from yosegi.training.precision import wants_bf16
from yosegi.training.settings import CUT, Settings
from yosegi.training.update import Outcome
from yosegi.training.validation import SetBatch, Validation, mean_loss


class Options(TypedDict, total=False):
    """Options of every training.

    resume: go on from the checkpoint of the same training, if there is one; True by default.
    """

    resume: bool


class ExpertOptions(Options, total=False):
    """Options of a training of experts by themselves.

    keep: called with each expert as soon as it is trained; `Library.add` is meant.
    validation: texts on which the experts are measured while they learn; not by GRPO.
    """

    keep: Callable[[Expert], Any]
    validation: Validation | None


class Job:
    """What all parts of one training share.

    Args:
        base: the model; it is as it was when the training is over.
        run: gets the metrics, and the checkpoint while the training lasts.
        settings: of the training.
        keep: see `ExpertOptions`, as the others.
    """

    def __init__(
        self,
        base: Base,
        run: Run,
        settings: Settings,
        keep: Callable[[Expert], Any] = lambda expert: None,
        resume: bool = True,
        validation: Validation | None = None,
    ):
        from accelerate import PartialState

        self.base, self.run, self.settings, self.resume, self.keep = base, run, settings, resume, keep
        self.device = next(base.model.parameters()).device
        self.processes = PartialState(cpu=self.device.type == "cpu")
        self.budget = settings.tokens_per_pass or TOKENS.get(self.device.type, TOKENS["cuda"])
        self.checkpointing = bool(settings.activation_checkpointing)
        self.shared, self.folder = False, run.path / "checkpoint"
        validation = validation or Validation()
        self.held_out: Mapping[str, Sequence[Row]] = validation.rows(base, settings)
        self.eval_steps, self.eval_s = validation.eval_steps, 0.0
        if settings.use_liger_kernel:
            use_liger(base.model)

    def share(self, name: str) -> None:
        """Begins the training of one learner, which all processes share."""
        self.shared, self.folder = self.processes.num_processes > 1, self.folder / name

    def deal(self, learners: Sequence[Any], name: str) -> list[Any]:
        """Begins the training of several learners. Returns those of this process, which shares nothing with the others."""
        index = self.processes.process_index
        self.folder = self.folder / f"{name}{index or ''}"
        return list(learners)[index :: self.processes.num_processes]

    @property
    def alone(self) -> bool:
        """Whether there is no other process."""
        return self.processes.num_processes == 1

    @property
    def writes(self) -> bool:
        """Whether this process writes: of several that share a learner only the first does."""
        return not self.shared or self.processes.is_main_process

    @property
    def sharing(self) -> int:
        """Returns the number of processes that share the rows of a step."""
        return self.processes.num_processes if self.shared else 1

    def add_up(self, tensor: Tensor) -> Tensor:
        """Returns the sum over the processes that share a learner."""
        from accelerate.utils import reduce

        return reduce(tensor, "sum") if self.shared else tensor  # type: ignore[return-value]

    def autocast(self) -> Any:
        """Returns the context of the precision that the forward pass computes in."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=wants_bf16(self.base, self.settings.precision))

    def read(self, groups: Mapping[str, Sequence[Example]]) -> dict[str, TrainingData]:
        """Returns the rows of each group, and prints a warning about what was cut and what the base cannot do.

        Raises:
            Invalid: a group has nothing to learn.
        """
        data = {name: read(self.base, examples, self.settings) for name, examples in groups.items() if examples}
        for name in groups:
            if name not in data:
                raise Invalid(f"{name!r} has no examples to learn from.")
            if not any(targets_of(row, self.base.seq2seq) for row in data[name].rows):
                raise Invalid(
                    f"{name!r} has nothing to learn: its {len(data[name].rows)} rows hold no token to predict."
                )
        counts = total(data.values())
        cut = cut_words(counts.get("cut", {}), counts.get("rows", 0))
        if cut and self.writes:
            print(f"Warning: {cut} (max_length={self.settings.max_length}).", file=sys.stderr)
        if not counts.get("kept_apart", True) and self.writes:
            text = "Warning: this base cannot keep documents of one row apart: each attends to those before it."
            print(text, file=sys.stderr)
        return data

    def identity(self, names: Sequence[str], data: Any, **more: Any) -> dict[str, Any]:
        """Returns what is being trained: a checkpoint of something else is refused.

        Args:
            names: of the learners.
            data: hashes of what they learn from.
            more: what else decides the result, such as a hash of the experts that it begins with.
        """
        names = list(names)
        return {
            "names": names,
            "base_hash": self.base.hash,
            "data": data,
            **more,
            **self.settings.model_dump(exclude=set(CUT)),
        }

    def measure(self, step: int, steps: int, set_batch: SetBatch = lambda rows, mask_BT: None, **columns: Any) -> float:
        """Measures the loss on the validation texts, if this step is one to do so. Returns the seconds it took.

        Args:
            step: the number of steps taken; 0 before the first.
            steps: how many there will be.
            set_batch: tells the routers about a pass.
            columns: of the metrics, such as `stage`, `expert` and `tokens`.
        """
        if not self.held_out or (step % self.eval_steps and step != steps):
            return 0.0
        started = time.monotonic()
        for name, rows in self.held_out.items():
            try:
                loss = mean_loss(self.base, rows, self.settings, set_batch, self.budget)
            except NotFinite:  # one learner of several may have diverged
                loss = None
            self.run.log({"step": step, **columns, "validation": name, "validation_loss": loss})
        took = time.monotonic() - started
        self.eval_s += took
        return took

    def card(
        self,
        outcome: Outcome,
        learner: str,
        tasks: Sequence[str],
        data_hash: str,
        metrics: Mapping[str, Any],
        start: Expert | None = None,
        **fields: Any,
    ) -> dict[str, Any]:
        """Returns the card of a trained expert (library/card.py adds the checksum and the date).

        Args:
            outcome: of the training.
            learner: which of its learners the expert is, or belongs to.
            tasks: what it was trained on.
            data_hash: of its rows.
            metrics: what is known of this expert alone: steps, examples, tokens.
            start: the expert that it began as; it shares that one's initialisation.
            fields: what this kind of training knows better.
        """
        base, settings = self.base, self.settings
        cut = cut_words(metrics.get("cut", {}), metrics.get("rows", 0))
        cost = {
            **outcome.costs[learner], "tokens_per_s": outcome.tokens_per_s, "wall_s": round(outcome.wall_s, 2),
            **({"validation_s": round(self.eval_s, 2)} if self.held_out else {}),
            "precision": "bf16" if wants_bf16(base, settings.precision) else "fp32", "peak_mem_mb": round(peak_memory()),
        }  # fmt: skip
        begun = settings.model_dump() if start is None else start.card
        return {
            "base": base.name,
            "base_hash": base.hash,
            **base.reads,
            "task_type": "SEQ_2_SEQ_LM" if base.seq2seq else "CAUSAL_LM",
            "task": list(tasks),
            "data_hash": data_hash,
            "init": begun.get("init"),
            "init_seed": begun.get("init_seed"),
            "targets": settings.targets,
            "training": settings.model_dump(),
            "parents": [] if start is None else [start.card.get("name") or start.name],
            **fields,
            "metrics": {**{k: v for k, v in metrics.items() if k != "cut"}, **({"cut": cut} if cut else {}), **cost},
        }

    def finish(self, diverged: Mapping[str, str] | None = None, learners: int = 0) -> None:
        """Removes the checkpoint: the experts are kept, and it is not needed any more.

        Raises:
            Diverged: some of so many learners diverged.
        """
        if self.writes and self.folder.exists():
            files.remove_folder(self.folder)
        if self.shared:
            self.processes.wait_for_everyone()
        if diverged:
            name, how = next(iter(diverged.items()))
            raise Diverged(
                f"{len(diverged)} of {learners} experts diverged ({name!r}: {how}{', …' if len(diverged) > 1 else ''}) and "
                "are not kept; the others are. Train these anew with a lower learning rate."
            )


@contextmanager
def attached(
    base: Base,
    experts: Sequence[Expert],
    router: Router,
    mix: str = "outputs",
    *,
    heads: int = 1,
    dropout: float = 0.0,
    origin: bool = False,
) -> Generator[Banks]:
    """The base with experts attached, while the block lasts.

    Args:
        base: the model.
        experts: at least one.
        router: copied into every layer.
        mix: outputs or factors.
        heads: slices routed on their own.
        dropout: on what the experts read, in training.
        origin: the experts are a start and no delta yet: their initial factors are subtracted.
    """
    banks = attach(base.model, experts, router, named(mix), heads=heads, dropout=dropout)
    try:
        for bank in banks.values() if origin else ():
            bank.set_origin()
        yield banks
    finally:
        banks.detach()
        base.model.eval()


def use_liger(model: Any) -> None:
    """Replaces what Liger has kernels for, but not the head and its loss, which our objectives compute where they are needed."""
    from transformers.utils import is_liger_kernel_available

    if not is_liger_kernel_available():
        raise MissingExtra("use_liger_kernel needs the package liger-kernel: pip install liger-kernel.")
    from transformers.integrations.liger import apply_liger_kernel

    apply_liger_kernel(model, {"cross_entropy": False, "fused_linear_cross_entropy": False})
