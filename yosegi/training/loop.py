"""The one loop of all trainings.

    run_steps      resume, rewind, progress, measurement, divergence, checkpoint, Ctrl-C: around every step of every kind
    train_loop     steps over rows of tokens, for one learner or many: experts, whole weights, a bank with its router, gates

What is a learner's own stays its own: the order of its rows, its mean loss, its gradient norm, its schedule, its end. So learning
together is learning alone, only sooner.

Shapes: G learners, B rows of a pass.
"""

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from yosegi import registry
from yosegi.core.model import Banks
from yosegi.engine.rows import TokensRead, order, targets_of, to_batch
from yosegi.errors import Diverged
from yosegi.progress import progress
from yosegi.training.balancing import Balancing
from yosegi.training.data import LearnerData, Place, passes, row_length
from yosegi.training.fit import fit, plan_of
from yosegi.training.interrupt import interruptible
from yosegi.training.job import Job
from yosegi.training.update import Outcome, Part, Update

Columns = dict[int, dict[str, Any]]
"""Learner -> the columns of its row of metrics."""


def run_steps(
    job: Job,
    update: Update,
    take_step: Callable[[int, list[int]], Columns],
    steps: Sequence[int],
    identity: Mapping[str, Any],
    title: str,
    *,
    stage: str = "sft",
    measure: Callable[[int, int], float] | None = None,
) -> Outcome:
    """Takes every step that is left, and returns what the training has cost.

    Args:
        job: its run gets a row of metrics for each step and learner, its folder the checkpoint.
        update: over what is trained; it is put back to the checkpoint's state.
        take_step: (steps taken, active learners) -> the columns of each that is well; it leaves no gradient behind.
        steps: of each learner.
        identity: see `Job.identity`.
        title: of the progress bar.
        stage: column of the metrics.
        measure: (steps taken, learner) -> the seconds that a measurement took, which are none of the training's.

    Raises:
        Diverged: no learner is left whose loss is finite; the last good checkpoint stays.
        Invalid: a checkpoint of another training is in the way.
        KeyboardInterrupt: after the step was finished and saved.
    """
    names, total, save_steps, folder = update.names, max(steps), job.settings.save_steps, job.folder
    if not job.resume and job.writes:
        shutil.rmtree(folder, ignore_errors=True)
    if job.shared:
        job.processes.wait_for_everyone()
    done = update.load(folder, identity) if folder.exists() else 0
    outcome = update.outcome
    outcome.tokens_per_pass, outcome.checkpointing = job.budget, job.checkpointing
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
            rows = take_step(step, active)
            outcome.wall_s = before_s + time.monotonic() - started
            if len(outcome.diverged) == len(names):
                raise Diverged(_diverged(outcome, folder))
            pace = {"tokens_per_s": outcome.tokens_per_s, "wall_s": round(outcome.wall_s, 2)}
            if job.writes:
                common = {"step": step + 1, "stage": stage}
                job.run.log(*(common | {"expert": names[g]} | columns | pace for g, columns in rows.items()))
            shown = next((key for key in ("reward", "loss") if any(key in columns for columns in rows.values())), "")
            bar.advance(note=f"{shown} {fmean(c[shown] for c in rows.values()):.3f}" if shown else "diverged")
            if measure is not None:  # before the checkpoint, which a resumed run takes for all that was seen
                started += sum(measure(step + 1, g) for g in rows)
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
    title: str,
    *,
    needs: str = "experts",
    masks: Mapping[str, Tensor] | None = None,
    objective: Callable[..., Tensor] | None = None,
    stage: str = "sft",
    **identity: Any,
) -> Outcome:
    """Trains the parameters of `parts` in place, until the last learner's last step. Returns what it cost.

    Args:
        job: the model, with `banks` in it.
        banks: they get the experts or tasks of each pass; None where the model itself is trained.
        learners: with several, the first axis of every parameter counts them.
        parts: what is trained; every parameter (or slice of one) once.
        title: of the progress bar.
        needs: what the banks get of each row: "experts" or "tasks".
        masks: True where an entry is updated, by parameter; by default as the settings have it.
        objective: in place of that of the settings; `Balancing` is for one learner.
        stage: column of the metrics.
        identity: what else decides the result (`Job.identity`).
    """
    base, settings, device, index = job.base, job.settings, job.device, job.processes.process_index
    loss_of: Callable[..., Tensor] = objective or registry.find("objectives", settings.objective)
    balancing = loss_of if isinstance(loss_of, Balancing) else None
    update = Update(parts, [data.name for data in learners], settings, masks, job.add_up if job.shared else None)
    orders = [data.order or order(len(data.rows), data.steps * data.batch, settings.seed) for data in learners]
    targets = [[targets_of(row, base.seq2seq) for row in data.rows] for data in learners]
    tokens = [TokensRead(data.rows, places, data.batch) for data, places in zip(learners, orders, strict=True)]
    autocast = job.autocast()
    torch.manual_seed(settings.seed)

    def set_batch(asks: Sequence[str | None], mask_BT: Tensor) -> None:
        if banks is not None:
            banks.set_batch(mask_BT=mask_BT, **{needs: asks})  # type: ignore[arg-type]

    def batch_of(places: Sequence[Place]) -> dict[str, Tensor]:
        """Returns the tensors of a pass, which the banks get to know of."""
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
        every_pass = list(passes(places, job.budget, settings.per_device_train_batch_size * len(active)))
        if balancing is not None:
            looked_at = map(batch_of, every_pass) if len(every_pass) > 1 or job.shared else ()
            with autocast:
                balancing.begin(base.model, looked_at, job.add_up)
        update.begin(step)
        for n, chosen in enumerate(every_pass):
            batch = batch_of(chosen)
            learner_B = torch.tensor([p.learner for p in chosen], device=device)
            with update.accumulating(last=n + 1 == len(every_pass)):
                with autocast:
                    loss_B = loss_of(base.model, batch, tokens_G[learner_B])
                loss_B.sum().backward()
            losses_G.index_add_(0, learner_B, loss_B.detach().float())
        update.outcome.tokens += sum(-tokens[g][step] + tokens[g][step + 1] for g in active)
        rows = update.step(step, active, losses_G)
        more = balancing.columns() if balancing is not None else {}
        return {g: {**columns, "tokens": tokens[g][step + 1], **more} for g, columns in rows.items()}

    def measure(step: int, g: int) -> float:
        name, columns = learners[g].name, {"stage": stage, "expert": learners[g].name, "tokens": tokens[g][step]}
        return job.measure(step, learners[g].steps, lambda B, mask_BT: set_batch([name] * B, mask_BT), **columns)

    rows = [row for data in learners for row in data.rows]
    fit(job, plan_of(job, banks, rows, max(data.batch for data in learners)))
    model: Any = base.model
    model.train()
    if job.checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
    try:
        hashes = {data.name: data.hash for data in learners}
        return run_steps(
            job, update, take_step, [data.steps for data in learners], job.identity(list(hashes), hashes, **identity),
            title, stage=stage, measure=measure if job.writes else None,
        )  # fmt: skip
    finally:
        if job.checkpointing:
            model.activation_checkpointing_disable()
        update.close()


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
