"""A fleet: many experts trained in one pass over one frozen base, each as if it were alone. A single expert is a fleet of one.

    fleet(base, {"gsm8k": [...], "law": [...]}, run, settings, keep=library.add)

Each sequence is read with its own expert (gathered dispatch, core/dispatch.py). Small batches become big ones, and the cost of
starting, launching and saving is paid once. A fleet that does not fit the memory is trained in groups. Under `accelerate launch`
the experts are dealt out to the processes, which then have nothing to tell each other; a single expert's rows are shared.

The idea of training many LoRAs over one base at once: Ye et al. 2023, "mLoRA", arXiv:2312.02515.
"""

import dataclasses
import hashlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor

from yosegi.bases import Base
from yosegi.core.expert import Expert
from yosegi.core.model import Banks
from yosegi.engine.rows import data_hash, order, to_batch, tokens_by_step
from yosegi.errors import Diverged, Invalid
from yosegi.estimate.memory import moving
from yosegi.inits import fresh
from yosegi.objectives.sft import sft
from yosegi.routers.by_request import ByRequest
from yosegi.run import Run, free_memory, peak_memory
from yosegi.tasks import Example
from yosegi.training import checkpoint
from yosegi.training.card import card
from yosegi.training.data import LearnerData, TrainingData, steps_of
from yosegi.training.loop import Job, attached, train_loop
from yosegi.training.settings import Settings
from yosegi.training.update import Outcome, Part
from yosegi.training.validation import Validation


def fleet(
    base: Base,
    groups: Mapping[str, Sequence[Example]],
    run: Run,
    settings: Settings | None = None,
    *,
    tasks: Mapping[str, Sequence[str]] | None = None,
    start: Expert | None = None,
    masks: Mapping[str, Mapping[str, Tensor]] | None = None,
    keep: Callable[[Expert], Any] = lambda expert: None,
    resume: bool = True,
    tokens_per_pass: int | None = None,
    memory: int | None = None,
    validation: Validation | None = None,
) -> list[Expert]:
    """Train an expert on each group; the base is as it was.

    Args:
        base: what they stand beside.
        groups: the expert's name -> what it learns from.
        run: gets the metrics, and the checkpoint while the training lasts.
        settings: how, the same for all. All start from one A: `init_seed` decides it.
        tasks: what each learns, by name.
        start: an expert that all begin as, instead of a fresh one: how a library's expert takes up a new task.
        masks: which entries of an expert are trained, by its name and then by "layer|A" and "layer|B" (masks/importance.py);
            all of one that is not named. Instead of the mask of the settings.
        keep: called with each expert as soon as it is trained; `Library.add` is meant.
        resume: go on from the checkpoint of the same training, if there is one.
        tokens_per_pass: tokens that go through the base at once, padding included (4,096 on a CPU, 65,536 on a GPU).
        memory: bytes that the fleet may take; by default four fifths of what is free.
        validation: texts on which each is measured while it learns.

    Returns the experts that this process trained, in the order of `groups`.

    Raises:
        Diverged: some experts' loss stopped being finite; all others were trained and kept.
        Invalid: a checkpoint of another training is in the way.
        KeyboardInterrupt: after the step was finished and saved.
    """
    settings = settings or Settings()
    job = Job(base, run, settings, resume, tokens_per_pass, validation)
    mine = job.deal(list(groups))
    data = job.read({name: groups[name] for name in mine})
    begin = start or fresh_expert(base, settings, "start")
    folder = job.folder("fleet" if len(groups) > 1 else mine[0] if mine else "fleet")
    done: dict[str, Expert] = {}
    diverged: dict[str, str] = {}
    for names in _fitting(job, begin, data, folder, memory):
        for expert in _train_group(job, begin, start, masks, names, data, folder, tasks or {}, diverged):
            if job.writes:
                keep(expert)
            done[expert.name] = expert
        job.finish(folder)
    if diverged:
        name, how = next(iter(diverged.items()))
        raise Diverged(
            f"{len(diverged)} of {len(groups)} experts diverged ({name!r}: {how}{', …' if len(diverged) > 1 else ''}) and are "
            "not kept; the others are. Train these anew with a lower learning rate."
        )
    return [done[name] for name in mine]


def fresh_expert(base: Base, settings: Settings, name: str, seed: int = 0, task: Sequence[str] = ()) -> Expert:
    """Returns a new expert as the settings have it; `seed` is added to theirs."""
    return fresh(
        base.model,
        name,
        rank=settings.rank,
        alpha=settings.alpha,
        targets=settings.targets,
        init=settings.init,
        seed=settings.init_seed + seed,
        task=task,
        **settings.init_args,
    )


def _train_group(
    job: Job,
    start: Expert,
    parent: Expert | None,
    masks: Mapping[str, Mapping[str, Tensor]] | None,
    names: Sequence[str],
    data: Mapping[str, TrainingData],
    folder: Path,
    tasks: Mapping[str, Sequence[str]],
    diverged: dict[str, str],
) -> list[Expert]:
    """Train the experts that fit the memory together; those that diverge are entered into `diverged`."""
    base, settings = job.base, job.settings
    by_steps = {name: steps_of(len(data[name].rows), settings, job.sharing) for name in names}
    names = sorted(names, key=lambda name: -by_steps[name][0])  # those of one schedule stand side by side
    experts = [dataclasses.replace(start, name=n, card={"task": list(tasks.get(n, ()))}) for n in names]
    learners = [LearnerData(n, data[n].rows, [n] * len(data[n].rows), *by_steps[n]) for n in names]
    hashes = {name: data_hash(data[name].rows) for name in names}
    identity = {"names": names, "base_hash": base.hash, "data": hashes, **settings.model_dump()}
    if parent is not None:
        identity["start"] = [parent.name, parent.card.get("sha256"), parent.card.get("data_hash")]
    with attached(base, experts, ByRequest(), dropout=settings.dropout, origin=parent is None) as banks:
        moves = None
        if masks is not None:
            moves = stacked(banks, {name: masks.get(name) for name in names})
            every = b"".join(moves[key].numpy().tobytes() for key in sorted(moves))
            identity["masks"] = hashlib.sha256(every).hexdigest()[:12]
        title = f"train {len(names)} experts" if len(names) > 1 else f"train {names[0]}"
        outcome = _trained_before(folder, identity, banks) if job.resume else None
        outcome = outcome or train_loop(
            job, banks, learners, _parts(banks, learners, settings), folder, identity, title, masks=moves
        )
        trained = banks.experts()
    diverged |= outcome.diverged
    found = []
    for expert in trained:
        if (name := expert.name) in outcome.diverged:
            continue
        steps, batch = by_steps[name]
        rows = data[name].rows
        measured = {
            "steps": steps,
            **data[name].counts,
            "tokens": tokens_by_step(rows, order(len(rows), steps * batch, settings.seed), batch)[-1],
            **outcome.costs[name],
            "fleet": len(names),
            "fleet_tokens": outcome.tokens,
            "tokens_per_s": outcome.tokens_per_s,
            "wall_s": round(outcome.wall_s, 2),
            **job.measure.cost,
        }
        parents = [] if parent is None else [parent.name]
        fields = card(base, settings, tasks.get(name, ()), hashes[name], measured, parents=parents)
        if parent is not None:  # it began as another, and so shares that one's start, not a fresh one
            fields |= {"init": parent.card.get("init"), "init_seed": parent.card.get("init_seed")}
        found.append(dataclasses.replace(expert, card=fields))
    return found


def _parts(banks: Banks, learners: Sequence[LearnerData], settings: Settings) -> list[Part]:
    """One part for each run of learners with one schedule."""
    parameters, parts = banks.parameters(), []
    ends = [g for g in range(1, len(learners)) if learners[g].steps != learners[g - 1].steps]
    for first, last in zip([0, *ends], [*ends, len(learners)], strict=True):
        whole = None if (first, last) == (0, len(learners)) else (first, last)
        parts.append(Part(parameters, settings.learning_rate, learners[first].steps, whole))
    return parts


def stacked(banks: Banks, masks: Mapping[str, Mapping[str, Tensor] | None]) -> dict[str, Tensor]:
    """The masks of all experts, by the names of the stacks. A mask of a smaller rank holds the other rows still."""
    found: dict[str, Tensor] = {}
    for layer, bank in banks.items():
        for key, name, factor in (("A", "A_ERI", bank.A_ERI), ("B", "B_EOR", bank.B_EOR)):
            moves = torch.ones(factor.shape, dtype=torch.bool)
            for own, mask in zip(moves, masks.values(), strict=True):
                if mask is not None:
                    given = mask[f"{layer}|{key}"]
                    own.zero_()[: given.shape[0], : given.shape[1]] = given
            found[f"{layer}.bank.{name}"] = moves
    return found


def _trained_before(folder: Path, identity: Mapping[str, Any], banks: Banks) -> Outcome | None:
    """A group was trained, and some of its experts kept, when it was killed: the others lie in its checkpoint, ready."""
    saved, progress = checkpoint.read(folder)
    begun, hashes = saved.get("names") or [], saved.get("data") or {}
    if set(begun) <= set(identity["names"]) or not set(identity["names"]) <= set(begun) or not progress["over"]:
        return None
    checkpoint.check(folder, {**identity, "names": begun, "data": {**hashes, **identity["data"]}})
    checkpoint.load_parameters(folder, banks.parameters(), [begun.index(name) for name in banks.names])
    return Outcome.of(progress)


def _fitting(
    job: Job, start: Expert, data: Mapping[str, TrainingData], folder: Path, memory: int | None
) -> Iterator[list[str]]:
    """The names, in as few groups as the memory allows; first the group that a checkpoint was left by."""
    names = list(data)
    begun = checkpoint.read(folder)[0].get("names", []) if job.resume else []
    if begun := [name for name in begun if name in names]:
        yield begun
        names = [name for name in names if name not in begun]
    if not names:
        return
    each = moving(sum(f.A_RI.numel() + f.B_OR.numel() for f in start.factors.values()))
    free = memory if memory is not None else int(0.8 * free_memory(job.device.type))
    size = len(names)
    if 2 * each * len(names) > free:  # it might not fit: now it is worth a look at what a pass takes
        a_pass = _measure_pass(job, start, data)
        size = (free - a_pass) // each
        needed = f"{each / 2**20:,.0f} MB and a pass {a_pass / 2**20:,.0f} MB; {free / 2**20:,.0f} MB are free"
        if size < 1:
            raise Invalid(f"One expert needs {needed}. Lower the rank, or tokens_per_pass.")
        if size < len(names):
            groups = -(-len(names) // size)
            print(
                f"{len(names)} experts are trained in {groups} groups of up to {size}: each needs {needed}.",
                file=sys.stderr,
            )
    for first in range(0, len(names), size):
        yield names[first : first + size]


def _measure_pass(job: Job, start: Expert, data: Mapping[str, TrainingData]) -> int:
    """Bytes that the largest pass takes beside what is there already: one is tried, with one expert."""
    base, device = job.base, job.device
    longest = max((row for own in data.values() for row in own.rows), key=lambda row: len(row["input_ids"]))
    several = [longest] * max(1, job.budget // len(longest["input_ids"]))
    batch = to_batch(base, several)
    with attached(base, [start], ByRequest(), dropout=job.settings.dropout) as banks:
        banks.set_batch(experts=[start.name] * len(several), mask_BT=batch["attention_mask"])
        with suppress(OSError):  # else an earlier peak of this process would hide that of the pass
            Path("/proc/self/clear_refs").write_text("5")
        before = psutil.Process().memory_info().rss / 2**20
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated() / 2**20
        with job.autocast():
            sft(base.model, batch, 1).backward()
        return int((peak_memory() - before) * 2**20)
