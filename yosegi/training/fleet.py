"""A fleet: many experts trained in one pass over one frozen base, each as if it were alone. A single expert is a fleet of one.

    fleet(base, {"gsm8k": [...], "law": [...]}, run, settings, keep=library.add)

Each sequence is read with its own expert (gathered dispatch, core/dispatch.py). Small batches become big ones, and the cost of
starting, launching and saving is paid once. A fleet that does not fit the memory is trained in groups. Under `accelerate launch`
the experts are dealt out to the processes, which then have nothing to tell each other; a single expert's rows are shared.

The idea of training many LoRAs over one base at once: Ye et al. 2023, "mLoRA", arXiv:2312.02515.
"""

import dataclasses
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Unpack

import torch
from torch import Tensor

from yosegi.bases import Base
from yosegi.core.expert import Expert
from yosegi.core.model import Banks
from yosegi.engine.rows import TokensRead, data_hash, order
from yosegi.errors import Invalid
from yosegi.estimate.memory import moving
from yosegi.estimate.shapes import of_config
from yosegi.inits import fresh
from yosegi.routers.by_request import ByRequest
from yosegi.run import Run, free_memory
from yosegi.tasks import Example
from yosegi.training import checkpoint
from yosegi.training.data import LearnerData, TrainingData, digest, digest_of, steps_of
from yosegi.training.fit import beyond, plan
from yosegi.training.job import ExpertOptions, Job, attached
from yosegi.training.loop import train_loop
from yosegi.training.settings import Settings
from yosegi.training.update import Outcome, Part

Masks = Mapping[str, Mapping[str, Tensor]]
"""Expert -> "layer|A" and "layer|B" -> True where an entry is updated (masks/importance.py)."""


def fleet(
    base: Base,
    groups: Mapping[str, Sequence[Example]],
    run: Run,
    settings: Settings | None = None,
    *,
    tasks: Mapping[str, Sequence[str]] | None = None,
    start: Expert | None = None,
    masks: Masks | None = None,
    memory: int | None = None,
    **options: Unpack[ExpertOptions],
) -> list[Expert]:
    """Trains an expert on each group. Returns those that this process trained, in the order of `groups`.

    Args:
        base: the model that they are trained beside; it stays as it was.
        groups: the expert's name -> its examples.
        run: gets the metrics, and the checkpoint while the training lasts.
        settings: the same for all. All start from one A: `init_seed` decides it.
        tasks: the tasks of each expert, by name.
        start: an expert that all begin as, instead of a fresh one: how a library's expert takes up a new task.
        masks: instead of the mask of the settings; of an expert that is not named everything is updated.
        memory: bytes that the fleet may take; by default four fifths of what is free.
        options: see `ExpertOptions`.

    Raises:
        Diverged: some experts' loss stopped being finite; all others were trained and kept.
        Invalid: a checkpoint of another training is in the way.
        KeyboardInterrupt: after the step was finished and saved.
    """
    settings = settings or Settings()
    job, mine = Job(base, run, settings, **options), list(groups)
    if len(mine) == 1 and not (job.alone and mine[0] in checkpoint.read(job.folder / "fleet")[0].get("names", [])):
        job.share(mine[0])
    else:
        mine = job.deal(mine, "fleet")
    data = job.read({name: groups[name] for name in mine})
    begin = start or fresh_expert(base, settings, "start")
    done: dict[str, Expert] = {}
    diverged: dict[str, str] = {}
    for names in _fitting(job, begin, data, memory):
        for expert in _train_group(job, begin, start, masks, names, data, tasks or {}, diverged):
            if job.writes:
                job.keep(expert)
            done[expert.name] = expert
        job.finish()
    job.finish(diverged, len(groups))
    return [done[name] for name in mine]


def fresh_expert(base: Base, settings: Settings, name: str, seed: int = 0, task: Sequence[str] = ()) -> Expert:
    """Returns a new expert as the settings have it; `seed` is added to theirs."""
    return fresh(
        base.model, name, rank=settings.rank, alpha=settings.alpha, targets=settings.targets, init=settings.init,
        seed=settings.init_seed + seed, task=task, **settings.init_args,
    )  # fmt: skip


def _train_group(
    job: Job,
    start: Expert,
    parent: Expert | None,
    masks: Masks | None,
    names: Sequence[str],
    data: Mapping[str, TrainingData],
    tasks: Mapping[str, Sequence[str]],
    diverged: dict[str, str],
) -> list[Expert]:
    """Trains the experts that fit the memory together; those that diverge are entered into `diverged`."""
    settings = job.settings
    by_steps = {name: steps_of(len(data[name].rows), settings, job.sharing) for name in names}
    names = sorted(names, key=lambda name: -by_steps[name][0])  # those of one schedule stand side by side
    experts = [dataclasses.replace(start, name=n, card={"task": list(tasks.get(n, ()))}) for n in names]
    learners = [LearnerData(n, data[n].rows, [n] * len(data[n].rows), *by_steps[n]) for n in names]
    identity: dict[str, Any] = {} if parent is None else {"start": digest_of([parent])}
    moves = None
    with attached(job.base, experts, ByRequest(), dropout=settings.dropout, origin=parent is None) as banks:
        if masks is not None:
            moves = stacked(banks, {name: masks.get(name) for name in names})
            identity["mask_hashes"] = {
                n: digest(*(moves[key][g] for key in sorted(moves))) for g, n in enumerate(names)
            }
        title = f"train {len(names)} experts" if len(names) > 1 else f"train {names[0]}"
        outcome = _trained_before(job, learners, identity, banks) if job.resume else None
        parts = _parts(banks, learners, settings)
        outcome = outcome or train_loop(job, banks, learners, parts, title, masks=moves, **identity)
        trained = banks.experts()
    diverged |= outcome.diverged
    experts = []
    for expert in (expert for expert in trained if expert.name not in outcome.diverged):
        (steps, batch), rows, name = by_steps[expert.name], data[expert.name].rows, expert.name
        tokens = TokensRead(rows, order(len(rows), steps * batch, settings.seed), batch)[steps]
        metrics = {"steps": steps, **data[name].counts, "tokens": tokens, "fleet": len(outcome.costs)}
        metrics["fleet_tokens"] = outcome.tokens
        fields = job.card(outcome, name, tasks.get(name, ()), data_hash(rows), metrics, parent)
        experts.append(dataclasses.replace(expert, card=fields))
    return experts


def _parts(banks: Banks, learners: Sequence[LearnerData], settings: Settings) -> list[Part]:
    """Returns one part for each run of learners with one schedule."""
    parameters, parts = banks.parameters(), []
    ends = [g for g in range(1, len(learners)) if learners[g].steps != learners[g - 1].steps]
    for first, last in zip([0, *ends], [*ends, len(learners)], strict=True):
        whole = None if (first, last) == (0, len(learners)) else (first, last)
        parts.append(Part(parameters, settings.learning_rate, learners[first].steps, whole))
    return parts


def stacked(banks: Banks, masks: Mapping[str, Mapping[str, Tensor] | None]) -> dict[str, Tensor]:
    """Returns the masks of all experts, by the names of the stacks. A mask of a smaller rank freezes the other rows."""
    moves: dict[str, Tensor] = {}
    for layer, bank in banks.items():
        for key, name, factor in (("A", "A_ERI", bank.A_ERI), ("B", "B_EOR", bank.B_EOR)):
            stack = moves[f"{layer}.bank.{name}"] = torch.ones(factor.shape, dtype=torch.bool)
            for of_expert, mask in zip(stack, masks.values(), strict=True):
                if mask is not None:
                    given = mask[f"{layer}|{key}"]
                    of_expert.zero_()[: given.shape[0], : given.shape[1]] = given
    return moves


def _trained_before(
    job: Job, learners: Sequence[LearnerData], identity: Mapping[str, Any], banks: Banks
) -> Outcome | None:
    """Returns the outcome of a group that was trained, and some of its experts kept, when it was killed: the others lie in its
    checkpoint, ready."""
    saved, progress = checkpoint.read(job.folder)
    begun, names = saved.get("names") or [], [data.name for data in learners]
    if set(begun) <= set(names) or not set(names) <= set(begun) or not progress["over"]:
        return None
    known = {key: value | identity[key] for key, value in saved.items() if key == "mask_hashes" and key in identity}
    data = saved["data"] | {data.name: data.hash for data in learners}
    checkpoint.check(job.folder, job.identity(begun, data, **{**identity, **known}))
    checkpoint.load_parameters(job.folder, banks.parameters(), [begun.index(name) for name in banks.names])
    return Outcome.of(progress)


def _fitting(job: Job, start: Expert, data: Mapping[str, TrainingData], memory: int | None) -> Iterator[list[str]]:
    """Yields the names, in as few groups as the memory allows; first the group that a checkpoint was left by."""
    begun = checkpoint.read(job.folder)[0].get("names", []) if job.resume else []
    if begun := [name for name in begun if name in data]:
        yield begun
    names = [name for name in data if name not in begun]
    if not names:
        return
    each = moving(sum(f.A_RI.numel() + f.B_OR.numel() for f in start.factors.values()))
    free = memory if memory is not None else int(0.8 * free_memory(job.device.type))
    size = len(names)
    if 2 * each * len(names) > free:  # it might not fit: now it is worth a look at what a pass takes
        a_pass = _smallest_pass(job, start, data)
        size = (free - a_pass) // each
        needed = f"{each / 2**20:,.0f} MB and a pass {a_pass / 2**20:,.0f} MB; {free / 2**20:,.0f} MB are free"
        if size < 1:
            raise Invalid(f"One expert needs {needed}. Lower the rank, or --max-length.")
        if size < len(names):
            groups = f"{-(-len(names) // size)} groups of up to {size}"
            print(f"{len(names)} experts are trained in {groups}: each needs {needed}.", file=sys.stderr)
    for first in range(0, len(names), size):
        yield names[first : first + size]


def _smallest_pass(job: Job, start: Expert, data: Mapping[str, TrainingData]) -> int:
    """Returns the bytes that the smallest pass takes beside what is there already (`fit`), with one expert."""
    rows, names = (
        [row for group in data.values() for row in group.rows],
        {name.rpartition(".")[2] for name in start.factors},
    )
    known = plan(job, rows, 1, method="fleet", rank=start.rank, targets=sorted(names), tokens_per_pass=1)
    return 0 if known is None else beyond(of_config(job.base.name, job.base.model.config), known)
