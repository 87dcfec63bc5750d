"""The one loop of all trainings, and what every training begins with.

    Job            base, run, settings, processes: what all parts of one training share
    run_steps      resume, rewind, progress, measurement, divergence, checkpoint, Ctrl-C: around every step of every kind
    train_loop     steps over rows of tokens, for one learner or many: experts, whole weights, a bank with its router, gates

A learner is an expert of a fleet, a bank with its router, or the weights of a model. What is the learner's own stays its own:
the order of its rows, its mean loss, its gradient norm, its schedule, its end. So learning together is learning alone, only
sooner. Under `accelerate launch` several experts are dealt out to the processes; the rows of one are shared, and so are the
weights of the base where accelerate was configured for FSDP2.

Shapes: G learners, B rows of a pass.
"""

import shutil
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor, nn

from yosegi import registry
from yosegi.bases import Base
from yosegi.core.expert import Expert
from yosegi.core.mix import named
from yosegi.core.model import Banks, attach
from yosegi.core.router import Router
from yosegi.engine.rows import order, to_batch, tokens_by_step
from yosegi.errors import Diverged, Invalid, MissingExtra
from yosegi.estimate.memory import TOKENS
from yosegi.progress import progress
from yosegi.run import Run
from yosegi.tasks import Example
from yosegi.training.balancing import Balancing
from yosegi.training.data import LearnerData, Place, TrainingData, count_targets, passes, read, row_length, warn
from yosegi.training.interrupt import interruptible
from yosegi.training.precision import wants_bf16
from yosegi.training.settings import Settings
from yosegi.training.update import Outcome, Part, Update
from yosegi.training.validation import Measure, Validation

Columns = dict[int, dict[str, Any]]
"""Learner -> the columns of its row of metrics."""


class Job:
    """What all parts of one training share.

    Args:
        base: the model; it is as it was when the training is over.
        run: gets the metrics, and the checkpoint while the training lasts.
        settings: how.
        resume: go on from the checkpoint of the same training, if there is one.
        tokens_per_pass: tokens that go through the base at once, padding included (4,096 on a CPU, 65,536 on a GPU).
        validation: texts on which the learners are measured while they learn.
    """

    def __init__(
        self,
        base: Base,
        run: Run,
        settings: Settings,
        resume: bool = True,
        tokens_per_pass: int | None = None,
        validation: Validation | None = None,
    ):
        from accelerate import PartialState

        self.base, self.run, self.settings, self.resume = base, run, settings, resume
        self.device = next(base.model.parameters()).device
        self.processes = PartialState(cpu=self.device.type == "cpu")
        self.budget = tokens_per_pass or TOKENS.get(self.device.type, TOKENS["cuda"])
        self.measure = Measure(base, validation, settings, run, tokens_per_pass)
        self.shared = False
        if settings.use_liger_kernel:
            use_liger(base.model)

    def share(self) -> None:
        """Let all processes train the same learners, each on its part of their rows."""
        self.shared = self.processes.num_processes > 1

    def deal(self, names: Sequence[str]) -> list[str]:
        """Returns the learners of this process, which has nothing to tell the others; one alone is shared by all of them."""
        if len(names) == 1:
            self.share()
            return list(names)
        return list(names)[self.processes.process_index :: self.processes.num_processes]

    @property
    def writes(self) -> bool:
        """Whether this process writes: of several that share a learner only the first does."""
        return not self.shared or self.processes.is_main_process

    @property
    def sharing(self) -> int:
        """How many processes share the rows of a step."""
        return self.processes.num_processes if self.shared else 1

    def add_up(self, tensor: Tensor) -> Tensor:
        """Returns the sum over the processes that share a learner."""
        from accelerate.utils import reduce

        return reduce(tensor, "sum") if self.shared else tensor  # type: ignore[return-value]

    def autocast(self) -> Any:
        """The precision that the forward pass computes in."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=wants_bf16(self.base, self.settings.precision))

    def read(self, groups: Mapping[str, Sequence[Example]]) -> dict[str, TrainingData]:
        """Returns the rows of each group; a group that holds nothing to learn is named."""
        found = {name: read(self.base, examples, self.settings) for name, examples in groups.items() if examples}
        for name in groups:
            if name not in found:
                raise Invalid(f"{name!r} has no examples to learn from.")
            if not any(count_targets(row, self.base.seq2seq) for row in found[name].rows):
                raise Invalid(
                    f"{name!r} has nothing to learn: its {len(found[name].rows)} rows hold no token to predict."
                )
        if self.writes:
            warn(found.values(), self.settings)
        return found

    def folder(self, name: str) -> Path:
        """Where the checkpoint of this process lies."""
        index = self.processes.process_index
        return self.run.path / "checkpoint" / (name if self.shared or not index else f"{name}{index}")

    def finish(self, folder: Path) -> None:
        """The experts are safe: the checkpoint is not needed any more."""
        if self.writes:
            shutil.rmtree(folder, ignore_errors=True)
        self.processes.wait_for_everyone()


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
    """Experts beside a base while the block lasts.

    Args:
        base: the model.
        experts: at least one.
        router: copied into every layer.
        mix: outputs or factors.
        heads: slices routed on their own.
        dropout: on what the experts read, in training.
        origin: the experts are a start and no delta yet: where they stand is subtracted.
    """
    banks = attach(base.model, experts, router, named(mix), heads=heads, dropout=dropout)
    try:
        for bank in banks.values() if origin else ():
            bank.set_origin()
        yield banks
    finally:
        banks.detach()
        base.model.eval()


def run_steps(
    job: Job,
    update: Update,
    take_step: Callable[[int, list[int]], Columns],
    steps: Sequence[int],
    folder: Path,
    identity: Mapping[str, Any],
    title: str,
    *,
    stage: str = "sft",
    measure: Callable[[int, int], float] | None = None,
) -> Outcome:
    """Take every step that is left, and return what it cost.

    Args:
        job: its run gets a row of metrics for each step and learner.
        update: over what is trained; it is put back to the checkpoint's state.
        take_step: (steps taken, learners at work) -> the columns of each that is well; it leaves no gradient behind.
        steps: of each learner.
        folder: of the checkpoint.
        identity: what is being trained; a checkpoint of something else is refused.
        title: of the progress bar.
        stage: column of the metrics.
        measure: (steps taken, learner) -> the seconds that a measurement took, which are none of the training's.

    Raises:
        Diverged: nobody is left whose loss is finite; the last good checkpoint stays.
        Invalid: a checkpoint of another training is in the way.
        KeyboardInterrupt: after the step was finished and saved.
    """
    names, total, save_steps = update.names, max(steps), job.settings.save_steps
    if not job.resume and job.writes:
        shutil.rmtree(folder, ignore_errors=True)
    if job.shared:
        job.processes.wait_for_everyone()
    done = update.load(folder, identity) if folder.exists() else 0
    outcome = update.outcome
    if job.writes:
        job.run.rewind(done or -1, expert=list(names), stage=stage)  # step 0 is what `measure` saw first
    if measure is not None and not done:
        for learner in range(len(names)):
            measure(0, learner)
    before_s, started = outcome.wall_s, time.monotonic()
    with interruptible() as interrupted, progress(title, total - done) as bar:
        for step in range(done, total):
            active = [g for g, name in enumerate(names) if step < steps[g] and name not in outcome.diverged]
            if not active:
                break
            found = take_step(step, active)
            outcome.wall_s = before_s + time.monotonic() - started
            if len(outcome.diverged) == len(names):
                raise Diverged(_diverged(outcome, folder))
            pace = {"tokens_per_s": outcome.tokens_per_s, "wall_s": round(outcome.wall_s, 2)}
            if job.writes:
                common = {"step": step + 1, "stage": stage}
                job.run.log(*(common | {"expert": names[g]} | columns | pace for g, columns in found.items()))
            shown = next((key for key in ("reward", "loss") if any(key in columns for columns in found.values())), "")
            bar.advance(note=f"{shown} {fmean(c[shown] for c in found.values()):.3f}" if shown else "diverged")
            if measure is not None:  # before the checkpoint, which a resumed run takes for all that was seen
                started += sum(measure(step + 1, g) for g in found)
            stop = bool(job.add_up(torch.tensor(len(interrupted), device=job.device)) if job.shared else interrupted)
            if ((step + 1) % save_steps == 0 or step + 1 == total or stop) and job.writes:
                update.save(folder, step + 1, step + 1 == total, identity)
            if stop:
                raise KeyboardInterrupt
    return update.count()


def train_loop(
    job: Job,
    banks: Banks | None,
    learners: Sequence[LearnerData],
    parts: Sequence[Part],
    folder: Path,
    identity: Mapping[str, Any],
    title: str,
    *,
    needs: str = "experts",
    masks: Mapping[str, Tensor] | None = None,
    balancing: Balancing | None = None,
) -> Outcome:
    """Train the parameters of `parts` in place, until the last learner's last step. Returns what it cost.

    Args:
        job: the model, with `banks` in it.
        banks: told of each pass who is asked; None where the model itself is trained.
        learners: with several, the first axis of every parameter counts them.
        parts: what is trained; every parameter (or slice of one) once.
        folder: of the checkpoint.
        identity: see `run_steps`.
        title: of the progress bar.
        needs: what the banks are told of each row: "experts" or "tasks".
        masks: True where an entry may move, by parameter; by default as the settings have it.
        balancing: in place of the objective of the settings; for one learner.
    """
    base, settings, device, index = job.base, job.settings, job.device, job.processes.process_index
    objective = balancing or registry.find("objectives", settings.objective)
    update = Update(parts, [data.name for data in learners], settings, masks, job.add_up if job.shared else None)
    orders = [data.order or order(len(data.rows), data.steps * data.batch, settings.seed) for data in learners]
    targets = [[count_targets(row, base.seq2seq) for row in data.rows] for data in learners]
    tokens = [tokens_by_step(data.rows, own, data.batch) for data, own in zip(learners, orders, strict=True)]
    autocast = job.autocast()
    torch.manual_seed(settings.seed)

    def set_batch(asks: Sequence[str | None], mask_BT: Tensor) -> None:
        if banks is not None:
            banks.set_batch(mask_BT=mask_BT, **{needs: asks})  # type: ignore[arg-type]

    def batch_of(places: Sequence[Place]) -> dict[str, Tensor]:
        """The tensors of a pass; the banks are told of it."""
        batch = to_batch(base, [learners[p.learner].rows[p.row] for p in places])
        if types := [t[p.row] for p in places if (t := learners[p.learner].types) is not None]:
            batch["type_B"] = torch.tensor(types, device=device)
        if banks is not None:
            set_batch([learners[p.learner].asks[p.row] for p in places], batch["attention_mask"])
        return batch

    def take_step(step: int, active: list[int]) -> Columns:
        places = [
            Place(row_length(learners[g].rows[row], base.seq2seq), g, row)
            for g in active
            for row in orders[g][step * learners[g].batch : (step + 1) * learners[g].batch]
        ]
        losses_G, tokens_G = torch.zeros(len(learners), device=device), torch.zeros(len(learners))
        for place in places:
            tokens_G[place.learner] += targets[place.learner][place.row]
        tokens_G = tokens_G.clamp(min=1).to(device)  # a step whose answers were all cut off teaches nothing
        if job.shared:
            places = sorted(places)[index :: job.sharing]
        cut = list(passes(places, job.budget, settings.per_device_train_batch_size * len(active)))
        if balancing is not None:
            with autocast:
                balancing.begin(base.model, map(batch_of, cut) if len(cut) > 1 or job.shared else (), job.add_up)
        update.begin(step)
        for n, chosen in enumerate(cut):
            batch = batch_of(chosen)
            learner_B = torch.tensor([p.learner for p in chosen], device=device)
            with update.accumulating(last=n + 1 == len(cut)):
                with autocast:
                    loss_B = objective(base.model, batch, tokens_G[learner_B])
                loss_B.sum().backward()
            losses_G.index_add_(0, learner_B, loss_B.detach().float())
        update.outcome.tokens += sum(tokens[g][step + 1] - tokens[g][step] for g in active)
        found = update.step(step, active, losses_G)
        more = balancing.columns() if balancing is not None else {}
        return {g: {**columns, "tokens": tokens[g][step + 1], **more} for g, columns in found.items()}

    def measure(step: int, g: int) -> float:
        data = learners[g]
        return job.measure(
            step,
            data.steps,
            lambda rows, mask_BT: set_batch([data.name] * rows, mask_BT),
            stage="sft",
            expert=data.name,
            tokens=tokens[g][step],
        )

    base.model.train()
    recomputed = _recomputed(base.model) if settings.activation_checkpointing else nullcontext()
    try:
        with recomputed:
            return run_steps(
                job, update, take_step, [data.steps for data in learners], folder, identity, title,
                measure=measure if job.writes else None,
            )  # fmt: skip
    finally:
        update.close()


@contextmanager
def _recomputed(model: Any) -> Generator[None]:
    """Activations are computed again in the backward pass instead of being kept."""
    model.gradient_checkpointing_enable({"use_reentrant": False})
    try:
        yield
    finally:
        model.gradient_checkpointing_disable()


def use_liger(model: nn.Module) -> None:
    """Replace what Liger has kernels for, but not the head and its loss, which our objectives compute where they are needed."""
    from transformers.utils import is_liger_kernel_available

    if not is_liger_kernel_available():
        raise MissingExtra("use_liger_kernel needs the package liger-kernel: pip install liger-kernel.")
    from transformers.integrations.liger import apply_liger_kernel

    apply_liger_kernel(model, {"cross_entropy": False, "fused_linear_cross_entropy": False})


def _diverged(outcome: Outcome, folder: Path) -> str:
    """Says who diverged when nobody is left."""
    name, how = next(iter(outcome.diverged.items()))
    kept = f"the last good state stays in {folder}" if folder.exists() else "nothing was saved yet"
    who = (
        f"Training {name!r}"
        if len(outcome.diverged) == 1
        else f"All {len(outcome.diverged)} learners diverged; {name!r}"
    )
    return f"{who}: {how}; {kept}. Start anew (--no-resume) with a lower learning rate."
