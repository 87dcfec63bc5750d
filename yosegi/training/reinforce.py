"""Experts of a library go on learning by reward: what `yosegi reinforce` does, for Python.

yosegi.reinforce("gsm8k", ["gsm8k"], base="Qwen/Qwen3-0.6B", library="library", rewards={"correct": 1, "soft_format": 0.5})
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

import yosegi.tasks
from yosegi import files, registry
from yosegi.bases import Base, load
from yosegi.core.expert import Expert
from yosegi.errors import Invalid, UnknownName
from yosegi.library.card import check_name
from yosegi.library.store import Library
from yosegi.partitions import by_system
from yosegi.run import Run
from yosegi.tasks import Example, Task
from yosegi.training.grpo import Question, grpo
from yosegi.training.settings import GrpoSettings, check


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
    """Go on training experts of a library with GRPO. Killed, the same call goes on where it was.

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
    asked, begin = ([one] if isinstance(one, str) else list(dict.fromkeys(one)) for one in (task, expert))
    how = check(GrpoSettings, settings)
    for reward in how.rewards:
        registry.find("rewards", reward)
    if not suffix and not overwrite:
        raise Invalid("Without --suffix the new experts replace the old ones: say --overwrite if you mean it.")
    loaded = {t.name: t for t in map(yosegi.tasks.load, asked)}
    model = base if isinstance(base, Base) else load(base, **how.loading)
    path = library.path if isinstance(library, Library) else Path(library)
    shelf = Library(path, model.hash, model.name)
    old = [shelf[name] for name in (list(shelf) if "all" in begin else begin)]
    new = {one.name: check_name(one.name + suffix) for one in old}
    if taken := [name for name in new.values() if name in shelf and not overwrite]:
        raise Invalid(f"{path} has an expert called {taken[0]!r}: --overwrite replaces it, --suffix avoids it.")
    questions = [
        Question(loaded[name], example)
        for name, examples in select(loaded, labels, system).items()
        for example in examples
    ]
    options = {
        "task": asked, "expert": begin, "base": model.name, "library": str(path), "suffix": suffix,
        "labels": labels and str(labels), "system": system, **how.model_dump(),
    }  # fmt: skip
    where = Run(run or Path("runs") / f"reinforce-{path.name}", {"command": "reinforce", **options})
    files.write(where.path / "run.yaml", yaml.safe_dump(options, sort_keys=False, allow_unicode=True))
    begun = [dataclasses.replace(one, name=new[one.name]) for one in old]
    return grpo(
        model, begun, {one.name: questions for one in begun}, where, how,
        masks={one.name: learnt(one) for one in begun}, keep=lambda one: shelf.add(one, overwrite=overwrite), resume=resume,
    )  # fmt: skip


def select(tasks: Mapping[str, Task], labels: str | Path | None, system: str) -> Mapping[str, Sequence[Example]]:
    """The training questions of each task, all or those of one system."""
    data = {name: task.examples("train") for name, task in tasks.items()}
    if labels is None:
        return data
    groups = by_system.read(Path(labels)).groups
    if system not in groups:
        raise UnknownName.among("system", system, groups)
    wanted = {example.id for example in groups[system]}
    chosen = {name: [e for e in examples if e.id in wanted] for name, examples in data.items()}
    if not any(chosen.values()):
        raise Invalid(f"{labels} has no question of {', '.join(tasks)} that belongs to {system}.")
    return chosen


def learnt(expert: Expert) -> dict[str, torch.Tensor]:
    """All entries that were learnt. What an expert began as, which it carries to be subtracted, stays as it is."""
    rank = (expert.card.get("training") or {}).get("rank") or expert.rank
    rows = rank if expert.card.get("init") in ("pissa", "olora") else expert.rank
    return {
        f"{layer}|{which}": torch.ones(shape, dtype=torch.bool)
        for layer, f in expert.factors.items()
        for which, shape in (("A", (rows, f.A_RI.shape[1])), ("B", (f.B_OR.shape[0], rows)))
    }
