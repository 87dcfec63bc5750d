"""A fleet: many experts trained in one pass over one frozen base, each as if it were alone.

    fleet(base, {"gsm8k": [...], "law": [...]}, run, settings, keep=library.add)

Each sequence hears its own expert (gathered dispatch, core/dispatch.py). Small batches become big ones, and the cost of
starting, launching and saving is paid once. A fleet that does not fit the memory sails in waves. Under `accelerate launch`
the experts are dealt out to the processes, which then have nothing to tell each other.

The idea of training many LoRAs over one base at once: Ye et al. 2023, "mLoRA", arXiv:2312.02515.
"""

import dataclasses
import hashlib
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor

from yosegi import files
from yosegi.bases import Base
from yosegi.core.expert import Expert
from yosegi.core.model import Banks, attach
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
from yosegi.training.descent import TOKENS, Lesson, Look, descend, steps_of, targets_of
from yosegi.training.precision import wants_bf16
from yosegi.training.reading import Reading, read, warn
from yosegi.training.settings import Settings
from yosegi.training.update import Outcome, Part
from yosegi.training.validation import Validation, Watch


def fleet(
    base: Base,
    groups: Mapping[str, Sequence[Example]],
    run: Run,
    settings: Settings | None = None,
    *,
    tasks: Mapping[str, Sequence[str]] | None = None,
    start: Expert | None = None,
    masks: Mapping[str, Mapping[str, Tensor]] | None = None,
    keep: Callable[[Expert], None] = lambda expert: None,
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
        masks: which entries of an expert move, by its name and then by "layer|A" and "layer|B" (masks/importance.py); all of
            one that is not named. Instead of the mask of the settings.
        keep: called with each expert as soon as its wave is over; `Library.add` is meant.
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
    from accelerate import PartialState

    settings = settings or Settings()
    process = PartialState(cpu=next(base.model.parameters()).device.type == "cpu")
    mine = list(groups)[process.process_index :: process.num_processes]
    if empty := [name for name in mine if not groups[name]]:
        raise Invalid(f"Expert {empty[0]!r} has no examples to learn from.")
    readings = {name: read(base, groups[name], settings) for name in mine}
    warn(readings.values(), settings)
    rows = {name: reading.rows for name, reading in readings.items()}
    watch = Watch(base, validation, settings, run, tokens_per_pass)
    for name, some in rows.items():
        if not any(targets_of(row, base.seq2seq) for row in some):
            raise Invalid(f"Expert {name!r} has nothing to learn: its {len(some)} examples hold no token to predict.")
    begin = start or fresh(
        base.model,
        "start",
        rank=settings.rank,
        alpha=settings.alpha,
        targets=settings.targets,
        init=settings.init,
        seed=settings.init_seed,
        **settings.init_args,
    )
    done: dict[str, Expert] = {}
    diverged: dict[str, int] = {}
    folder = run.path / "checkpoint" / f"fleet{process.process_index or ''}"
    for wave in _waves(base, begin, rows, settings, folder if resume else None, tokens_per_pass, memory):
        for expert in _wave(
            base, begin, start, masks, wave, readings, run, settings, folder, tasks or {}, resume, tokens_per_pass,
            diverged, watch,
        ):  # fmt: skip
            keep(expert)
            done[expert.name] = expert
        shutil.rmtree(folder, ignore_errors=True)
    process.wait_for_everyone()
    if diverged:
        name, step = next(iter(diverged.items()))
        raise Diverged(
            f"{len(diverged)} of {len(groups)} experts diverged ({name!r} at step {step}"
            f"{', …' if len(diverged) > 1 else ''}) and are not kept; the others are. "
            "Train these anew with a lower learning rate."
        )
    return [done[name] for name in mine]


def _wave(
    base: Base,
    start: Expert,
    parent: Expert | None,
    masks: Mapping[str, Mapping[str, Tensor]] | None,
    names: Sequence[str],
    readings: Mapping[str, Reading],
    run: Run,
    settings: Settings,
    folder: Path,
    tasks: Mapping[str, Sequence[str]],
    resume: bool,
    tokens_per_pass: int | None,
    diverged: dict[str, int],
    watch: Watch,
) -> list[Expert]:
    """Train the experts that fit the memory together."""
    rows = {name: readings[name].rows for name in names}
    by_steps = {name: steps_of(len(rows[name]), settings) for name in names}
    names = sorted(names, key=lambda name: -by_steps[name][0])  # those of one schedule stand side by side
    experts = [dataclasses.replace(start, name=n, card={"task": list(tasks.get(n, ()))}) for n in names]
    banks = attach(base.model, experts, ByRequest(), dropout=settings.dropout)
    if parent is None:  # what it starts with is where it stands, and no delta yet
        for bank in banks.values():
            bank.set_origin()
    lessons = [Lesson(name, rows[name], [name] * len(rows[name]), *by_steps[name]) for name in names]
    hashes = {name: data_hash(rows[name]) for name in names}
    what = {"names": names, "base_hash": base.hash, "data": hashes, **settings.model_dump()}
    if parent is not None:
        what["start"] = [parent.name, parent.card.get("sha256"), parent.card.get("data_hash")]
    own = None
    if masks is not None:
        own = stacked(banks, {name: masks.get(name) for name in names})
        what["masks"] = hashlib.sha256(b"".join(own[key].numpy().tobytes() for key in sorted(own))).hexdigest()[:12]
    try:
        outcome = _trained_before(folder, what, banks) if resume else None
        if outcome is None:
            outcome = descend(
                base,
                banks,
                lessons,
                _parts(banks, lessons, settings),
                run,
                settings,
                needs="experts",
                what=what,
                folder=folder,
                title=f"train {len(names)} experts" if len(names) > 1 else f"train {names[0]}",
                resume=resume,
                masks=own,
                tokens_per_pass=tokens_per_pass,
                look=_look(watch, banks),
            )
        trained = banks.experts()
    finally:
        banks.detach()
        base.model.eval()
    diverged |= outcome.diverged
    found, size = [], sum(f.A_RI.numel() + f.B_OR.numel() for f in start.factors.values())
    for expert in trained:
        if expert.name in outcome.diverged:
            continue
        measured = {
            "steps": by_steps[expert.name][0],
            **readings[expert.name].counts,
            "tokens": _tokens(rows[expert.name], *by_steps[expert.name], settings.seed),
            "trainable_params": size,
            "fleet": len(names),
            "fleet_tokens": outcome.tokens,
            "tokens_per_s": round(outcome.tokens / max(outcome.wall_s, 1e-9)),
            "wall_s": round(outcome.wall_s, 2),
            **watch.cost,
        }
        parents = [] if parent is None else [parent.name]
        said = card(base, settings, tasks.get(expert.name, ()), hashes[expert.name], measured, parents=parents)
        if parent is not None:  # it began as another, and so shares that one's start, not a fresh one
            said |= {"init": parent.card.get("init"), "init_seed": parent.card.get("init_seed")}
        found.append(dataclasses.replace(expert, card=said))
    return found


def _look(watch: Watch, banks: Banks) -> Look:
    """Measure one of the fleet: it alone is heard."""

    def look(step: int, lesson: Lesson, tokens: int) -> float:
        def hear(rows: int, mask_BT: Tensor) -> None:
            banks.set_batch(experts=[lesson.name] * rows, mask_BT=mask_BT)

        return watch.look(step, lesson.steps, hear=hear, expert=lesson.name, tokens=tokens)

    return look


def _tokens(rows: Sequence[dict[str, list[int]]], steps: int, batch: int, seed: int) -> int:
    """How many tokens a lesson reads from its first step to its last."""
    return tokens_by_step(rows, order(len(rows), steps * batch, seed), batch)[-1]


def _parts(banks: Banks, lessons: Sequence[Lesson], settings: Settings) -> list[Part]:
    """One part for each run of learners with one schedule."""
    parameters, parts = banks.parameters(), []
    ends = [g for g in range(1, len(lessons)) if lessons[g].steps != lessons[g - 1].steps]
    for first, last in zip([0, *ends], [*ends, len(lessons)], strict=True):
        whole = None if (first, last) == (0, len(lessons)) else (first, last)
        parts.append(Part(parameters, settings.learning_rate, lessons[first].steps, whole))
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


def _trained_before(folder: Path, what: Mapping[str, Any], banks: Banks) -> Outcome | None:
    """A wave was over, and some of its experts kept, when it was killed: the others lie in its checkpoint, ready."""
    if not (folder / "state.json").exists():
        return None
    saved, progress = files.read_json(folder / "state.json")["what"], files.read_json(folder / "progress.json")
    begun, hashes = saved.get("names") or [], saved.get("data") or {}
    if set(begun) <= set(what["names"]) or not set(what["names"]) <= set(begun) or not progress["over"]:
        return None
    checkpoint.check(folder, {**what, "names": begun, "data": {**hashes, **what["data"]}})
    checkpoint.load_parameters(folder, banks.parameters(), [begun.index(name) for name in banks.names])
    return Outcome(progress["tokens"], progress["wall_s"], progress["diverged"])


def _waves(
    base: Base,
    start: Expert,
    rows: Mapping[str, list[dict[str, list[int]]]],
    settings: Settings,
    folder: Path | None,
    tokens_per_pass: int | None,
    memory: int | None,
) -> Iterator[list[str]]:
    """The names, in as few waves as the memory allows; first the wave that a checkpoint was left by."""
    names = list(rows)
    if folder is not None and (folder / "state.json").exists():
        begun = files.read_json(folder / "state.json")["what"].get("names", [])
        if len(begun := [name for name in begun if name in names]):
            yield begun
            names = [name for name in names if name not in begun]
    if not names:
        return
    each = moving(sum(f.A_RI.numel() + f.B_OR.numel() for f in start.factors.values()))
    free = memory if memory is not None else int(0.8 * free_memory(next(base.model.parameters()).device.type))
    size = len(names)
    if 2 * each * len(names) > free:  # it might not fit: now it is worth a look at what a pass takes
        a_pass = _measure_pass(base, start, rows, settings, tokens_per_pass)
        size = (free - a_pass) // each
        if size < 1:
            raise Invalid(
                f"One expert needs {each / 2**20:,.0f} MB and a pass {a_pass / 2**20:,.0f} MB; {free / 2**20:,.0f} MB are "
                "free. Lower the rank, or tokens_per_pass."
            )
        if size < len(names):
            waves = -(-len(names) // size)
            print(
                f"{len(names)} experts of {each / 2**20:,.0f} MB each and {a_pass / 2**20:,.0f} MB for a pass do not fit "
                f"{free / 2**20:,.0f} MB: {waves} waves of up to {size}.",
                file=sys.stderr,
            )
    for first in range(0, len(names), size):
        yield names[first : first + size]


def _measure_pass(
    base: Base, start: Expert, rows: Mapping[str, Any], settings: Settings, tokens_per_pass: int | None
) -> int:
    """Bytes that the largest pass takes beside what is there already: one is tried, with one expert."""
    device = next(base.model.parameters()).device
    longest = max((row for some in rows.values() for row in some), key=lambda row: len(row["input_ids"]))
    tokens = tokens_per_pass or TOKENS.get(device.type, TOKENS["cuda"])
    several = [longest] * max(1, tokens // len(longest["input_ids"]))
    batch = to_batch(base, several)
    banks = attach(base.model, [start], ByRequest(), dropout=settings.dropout)
    banks.set_batch(experts=[start.name] * len(several), mask_BT=batch["attention_mask"])
    with suppress(OSError):  # else an earlier peak of this process would hide that of the pass
        Path("/proc/self/clear_refs").write_text("5")
    before = psutil.Process().memory_info().rss / 2**20
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated() / 2**20
    try:
        with torch.autocast(device.type, torch.bfloat16, enabled=wants_bf16(base, settings.precision)):
            sft(base.model, batch, 1).backward()
    finally:
        banks.detach()
    return int((peak_memory() - before) * 2**20)
