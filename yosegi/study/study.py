"""One run over several seeds. What was trained once is found on disk again, so a study that was killed goes on where it was.

runs/NAME/libraries/LIBRARY-sSEED/    the experts of a seed, and the arms kept with them
          lost.json                   what diverged, and why; it is missing from the tables and named in the report
          pilot/                      trainings that only chose settings: no result of the study
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from yosegi import files, tasks
from yosegi.bases import Base
from yosegi.core.expert import Expert
from yosegi.engine.arm import Arm
from yosegi.engine.kept import arms, load_arm, save_arm
from yosegi.errors import Diverged
from yosegi.evaluation.likelihood import likelihood
from yosegi.evaluation.measure import evaluate
from yosegi.findings import Finding, save
from yosegi.library.store import Library
from yosegi.registry import find
from yosegi.run import Run
from yosegi.tasks import Example, Task
from yosegi.training import dense
from yosegi.training.cat import begin, moved
from yosegi.training.fleet import fleet
from yosegi.training.grpo import grpo
from yosegi.training.routers import train_router
from yosegi.training.settings import DenseSettings, GrpoSettings, RouterSettings, Settings
from yosegi.training.validation import Validation


@dataclass(frozen=True)
class Training:
    """How one expert is trained.

    Args:
        examples: what it learns from; questions where it learns by reward.
        settings: how; their class says by what: `GrpoSettings` by reward, `DenseSettings` with whole weights, else as a fleet.
        tasks: the names of the tasks.
        start: the expert it begins as; by default a fresh one.
        mask: which of its entries move; by default all.
        validation: texts on which it is measured while it learns.
    """

    examples: Sequence[Any]
    settings: Settings
    tasks: Sequence[str] = ()
    start: Expert | None = None
    mask: Mapping[str, Tensor] | None = None
    validation: Validation | None = None

    @classmethod
    def on(cls, names: str, settings: Settings, limit: int | None = None) -> "Training":
        """On the training split of one or more tasks, as `read` has them. Plain texts alone are learnt by the objective lm."""
        plain = all(name.startswith("corpus/") for name in names.split(","))
        settings = settings.model_copy(update={"objective": "lm"}) if plain else settings
        return cls(read(names, "train", limit), settings, names.split(","))


def read(names: str, split: str, limit: int | None = None) -> list[Example]:
    """The examples of one or more tasks ("mbpp,thealgorithms"), in order, at most `limit` of each."""
    return [example for name in names.split(",") for example in tasks.load(name).examples(split)[:limit]]


class Study:
    """The trainings of one run.

    Args:
        base: what all experts are trained beside.
        run: where everything is kept.
    """

    def __init__(self, base: Base, run: Run):
        self.base, self.run = base, run
        self._lost = run.path / "lost.json"
        self.lost: dict[str, str] = files.read_json(self._lost) if self._lost.exists() else {}

    @property
    def pilot(self) -> "Study":
        """A study of its own for trainings that only choose settings."""
        return Study(self.base, Run(self.run.path / "pilot"))

    def library(self, seed: int, name: str = "experts") -> Library:
        """The library of one seed; a study may have several."""
        return Library(self.run.path / "libraries" / f"{name}-s{seed}", self.base.hash, self.base.name)

    def train(self, trainings: Mapping[str, Training], seed: int, library: Library | None = None) -> dict[str, Expert]:
        """The experts, by name: those that are missing are trained, side by side where settings and start are the same.

        In the library and in the metrics NAME is called "NAME s0", by its seed. One that diverges is noted in `lost`.
        """
        library = library or self.library(seed)
        named = {f"{name} s{seed}": one for name, one in trainings.items()}
        groups: dict[str, dict[str, Training]] = {}
        for name, one in named.items():
            if name not in library and name not in self.lost:
                start = None if isinstance(one.settings, GrpoSettings) or one.start is None else one.start.name
                alone = name if isinstance(one.settings, DenseSettings) else ""
                groups.setdefault(repr((one.settings, start, alone)), {})[name] = one
        for group in groups.values():
            try:
                self._train(library, group)
            except Diverged as error:
                self.lose({name: str(error) for name in group if name not in library})
        return {name: library[whole] for name, whole in zip(trainings, named, strict=True) if whole in library}

    def keep(
        self, name: str, seed: int, make: Callable[[str], Arm | Expert], library: Library | None = None
    ) -> Arm | None:
        """The arm of this name that the library keeps; else what `make` returns, kept from now on together with its experts.

        `make` is given the name with the seed, for metrics and for experts. None if it diverges.
        """
        library, whole = library or self.library(seed), f"{name} s{seed}"
        if whole not in library and whole not in arms(library):
            if whole in self.lost:
                return None
            try:
                made = make(whole)
            except Diverged as error:
                self.lose({whole: str(error)})
                return None
            if isinstance(made, Expert):
                library.add(replace(made, name=whole), overwrite=True)
            else:
                for expert in made.experts:
                    if "sha256" not in expert.card:  # made anew; what has its name is only what a killed call left
                        library.add(expert, overwrite=True)
                save_arm(library, replace(made, name=whole))
        return Arm(name, [library[whole]]) if whole in library else replace(load_arm(library, whole), name=name)

    def route(
        self,
        name: str,
        seed: int,
        experts: Sequence[Expert],
        router: str,
        args: Mapping[str, Any],
        data: Mapping[str, Sequence[Example]],
        settings: Mapping[str, Any],
        library: Library | None = None,
    ) -> Arm | None:
        """Finished experts under a router that learns from these examples, by task; trained once and kept.

        Args:
            name: of the arm.
            seed: of the study.
            experts: of the library.
            router: a method of `routers`.
            args: its arguments.
            data: what it learns from.
            settings: those of `train_router`, `mix` and `granularity`; with learning_rate 0 the router stays as it begins.
            library: by default that of the seed.
        """

        def make(whole: str) -> Arm:
            torch.manual_seed(seed)  # a random start is drawn from torch's generator, and the training draws the same
            if settings.get("learning_rate") == 0:
                start = begin(self.base, experts, find("routers", router)(**args))
                training = {**settings, "moved": moved(start, start)}
                return Arm(whole, experts, router, args, start, tasks=tuple(data), training=training)
            options = {key: settings[key] for key in ("mix", "granularity") if key in settings}
            how = RouterSettings(seed=seed, **{key: value for key, value in settings.items() if key not in options})
            return train_router(self.base, experts, router, args, data, self.run, how, name=whole, **options)

        return self.keep(name, seed, make, library)

    def logp(self, arm: Arm, examples: Sequence[Example], batch_size: int = 128) -> float:
        """Mean log p a token of the answers, as this arm gives it."""
        with arm.attached(self.base) as banks:
            return fmean(likelihood(self.base, examples, banks=banks, batch_size=batch_size))

    def evaluate(self, arms: Mapping[str, Arm | None], asked: Sequence[Task | str], seed: int, **settings: Any) -> None:
        """The base and every arm that did not diverge, on all of these tasks; `settings` are those of `evaluate`."""
        there = [Arm("base"), *(replace(arm, name=name) for name, arm in arms.items() if arm is not None)]
        loaded = [tasks.load(task) if isinstance(task, str) else task for task in asked]
        evaluate(self.base, there, loaded, self.run, **{"seed": seed, "traced": 0, **settings})

    def save(self, title: str, findings: Iterable[Finding | None]) -> None:
        """Write `findings.json`; what diverged is told last."""
        told = [finding for finding in findings if finding is not None]
        if self.lost:
            lost = [f"{name}: {why}" for name, why in self.lost.items()]
            told.append(Finding("Diverged, and missing from all tables", lost))
        save(self.run.path, title, told)

    def lose(self, reasons: Mapping[str, str]) -> None:
        """Note what diverged."""
        self.lost |= reasons
        files.write_json(self._lost, self.lost)

    def _train(self, library: Library, group: Mapping[str, Training]) -> None:
        first = next(iter(group.values()))
        settings, data = first.settings, {name: one.examples for name, one in group.items()}
        tasks = {name: list(one.tasks) for name, one in group.items()}
        masks = {name: one.mask for name, one in group.items() if one.mask is not None} or None
        if isinstance(settings, GrpoSettings):
            begun = [replace(one.start, name=name) for name, one in group.items() if one.start is not None]
            grpo(self.base, begun, data, self.run, settings, masks=masks, keep=library.add)
        elif isinstance(settings, DenseSettings):
            for name, one in group.items():
                dense.train(
                    self.base, one.examples, name, self.run, settings,
                    task=one.tasks, validation=one.validation, keep=library.add,
                )  # fmt: skip
        else:
            fleet(
                self.base, data, self.run, settings,
                tasks=tasks, start=first.start, masks=masks, keep=library.add, validation=first.validation,
            )  # fmt: skip
