"""Experts of a library go on learning by reward: what `yosegi reinforce` does, for Python.

yosegi.reinforce("gsm8k", ["gsm8k"], base="Qwen/Qwen3-0.6B", library="library", rewards={"correct": 1, "soft_format": 0.5})
"""

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

import yosegi.tasks
from yosegi import files, registry
from yosegi.bases import Base
from yosegi.core.expert import Expert
from yosegi.errors import Invalid, UnknownName
from yosegi.library.card import check_name
from yosegi.library.store import Library
from yosegi.partitions import by_system
from yosegi.tasks import Example, Task
from yosegi.training import checkpoint
from yosegi.training.grpo import Question, grpo
from yosegi.training.settings import GrpoSettings, check
from yosegi.training.train import as_list, open_library, open_run, run_folder


def reinforce(
    task: str | Sequence[str],
    expert: str | Sequence[str],
    base: str | Base = "nano",
    library: str | Path | Library = "library",
    *,
    suffix: str = "-rl",
    labels: str | Path | None = None,
    system: str = "system2",
    run: str | Path | None = None,
    overwrite: bool = False,
    resume: bool = True,
    **settings: Any,
) -> list[Expert]:
    """Goes on training experts of a library with GRPO. Killed, the same call goes on where it was.

    Args:
        task: the tasks whose questions are asked, by name.
        expert: where each begins; "all" for every expert of the library.
        base: the model, or its name.
        library: the folder of the experts.
        suffix: the new expert is called as the old one with this behind it.
        labels: the folder of `yosegi label`: only questions of `system` are asked.
        system: see `labels`.
        run: the folder for metrics and checkpoints; by default runs/reinforce-LIBRARY.
        overwrite: replace experts of the same names.
        resume: go on from a checkpoint of the same training, if there is one.
        settings: fields of `GrpoSettings` (training/settings.py).

    Raises:
        Invalid: a setting cannot be right, or there is an expert of the new name.
        Diverged: the loss of some stopped being finite; the others are kept.
    """
    asked, begin = as_list(task), as_list(expert)
    how: GrpoSettings = check(GrpoSettings, settings)
    for reward in how.rewards:
        registry.find("rewards", reward)
    if not suffix and not overwrite:
        raise Invalid("Without --suffix the new experts replace the old ones: say --overwrite if you mean it.")
    loaded = {one.name: one for one in map(yosegi.tasks.load, asked)}
    model, library = open_library(base, library, how)
    old = library.load(list(library) if "all" in begin else begin)
    new = [dataclasses.replace(one, name=check_name(one.name + suffix)) for one in old]
    files.tidy(checkpoints := run_folder("reinforce", run, library) / "checkpoint")
    begun = checkpoint.read(checkpoints / "grpo")[0] if resume else {}
    if begun.get("names") == [one.name for one in new]:  # a killed call of these, which may have kept some
        overwrite = overwrite or all(_is_made(library, one, start, how) for one, start in zip(new, old, strict=True))
    if taken := [one.name for one in new if one.name in library and not overwrite]:
        raise Invalid(f"{library.path} has an expert called {taken[0]!r}: --overwrite replaces it, --suffix avoids it.")
    data = select(loaded, labels, system)
    questions = [Question(loaded[name], example) for name, examples in data.items() for example in examples]
    options = {
        "task": asked, "expert": begin, "base": model.name, "library": str(library.path), "suffix": suffix,
        "labels": labels and str(labels), "system": system, **how.model_dump(),
    }  # fmt: skip
    return grpo(
        model, new, {one.name: questions for one in new}, open_run("reinforce", run, library, options), how,
        masks={one.name: learnt(one) for one in new}, keep=partial(library.add, overwrite=overwrite), resume=resume,
    )  # fmt: skip


def _is_made(library: Library, expert: Expert, start: Expert, how: GrpoSettings) -> bool:
    """Returns whether an expert is not in the library, or was made there of this one with these settings."""
    if expert.name not in library:
        return True
    card = library.card(expert.name)
    return card.get("parents") == [start.card.get("name") or start.name] and card.get("training") == how.model_dump()


def select(tasks: Mapping[str, Task], labels: str | Path | None, system: str) -> Mapping[str, Sequence[Example]]:
    """Returns the training questions of each task, all or those of one system."""
    data = {name: task.examples("train") for name, task in tasks.items()}
    if labels is None:
        return data
    groups = by_system.read(Path(labels)).groups
    UnknownName.check("system", [system], groups)
    wanted = {example.id for example in groups[system]}
    chosen = {name: [e for e in examples if e.id in wanted] for name, examples in data.items()}
    if not any(chosen.values()):
        raise Invalid(f"{labels} has no question of {', '.join(tasks)} that belongs to {system}.")
    return chosen


def learnt(expert: Expert) -> dict[str, torch.Tensor]:
    """Returns all entries that were trained; what an expert began as, which it carries to be subtracted, stays as it is."""
    rank = (expert.card.get("training") or {}).get("rank") or expert.rank
    rows = rank if expert.card.get("init") in ("pissa", "olora") else expert.rank
    return {
        f"{layer}|{which}": torch.ones(shape, dtype=torch.bool)
        for layer, f in expert.factors.items()
        for which, shape in (("A", (rows, f.A_RI.shape[1])), ("B", (f.B_OR.shape[0], rows)))
    }
