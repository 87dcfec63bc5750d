"""One run over several seeds. What was trained once is found on disk again, so a study that was killed goes on where it was.

runs/NAME/libraries/LIBRARY-sSEED/    the experts of a seed, and the arms kept with them
          lost.json                   what diverged, and why; it is missing from the tables and named in the report
          pilot/                      trainings that only chose settings: no result of the study
"""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from yosegi import files, tasks
from yosegi.bases import Base
from yosegi.bases import load as load_base
from yosegi.core.expert import Expert
from yosegi.core.model import weight
from yosegi.engine.arm import Arm
from yosegi.engine.kept import arms, load_arm
from yosegi.engine.score import score_answers
from yosegi.errors import Diverged
from yosegi.evaluation.measure import evaluate
from yosegi.findings import Finding, save
from yosegi.library.store import Library
from yosegi.partitions import Data, Partition
from yosegi.registry import find
from yosegi.run import Run
from yosegi.tasks import Example, Task
from yosegi.training import dense
from yosegi.training.build import build, build_bank, keep_bank, take_up
from yosegi.training.fleet import fleet
from yosegi.training.grpo import grpo
from yosegi.training.joint import begin
from yosegi.training.routers import train_arm
from yosegi.training.settings import BUILDS, DenseSettings, GrpoSettings, RouterSettings, Settings
from yosegi.training.validation import Validation


@dataclass(frozen=True)
class Training:
    """How one expert is trained: by reward with `GrpoSettings`, with whole weights with `DenseSettings`, else in a fleet."""

    examples: Sequence[Any]  # questions where it learns by reward
    settings: Settings
    tasks: Sequence[str] = ()
    start: Expert | None = None  # by default a fresh expert
    mask: Mapping[str, Tensor] | None = None  # entries that move; by default all
    validation: Validation | None = None

    @classmethod
    def on(cls, names: str, settings: Settings, limit: int | None = None) -> "Training":
        """Returns a training on the training split of one or more tasks. Plain texts alone are learnt by the objective lm."""
        plain = all(name.startswith("corpus/") for name in names.split(","))
        settings = settings.model_copy(update={"objective": "lm"}) if plain else settings
        return cls(read(names, "train", limit), settings, names.split(","))


def read(names: str, split: str, limit: int | None = None) -> list[Example]:
    """Returns the examples of one or more tasks ("mbpp,thealgorithms"), in order: of each a fair sample of at most `limit`."""
    return [example for name in names.split(",") for example in tasks.load(name).sample(split, limit)]


def load(names: Iterable[str], max_new_tokens: int | None = None) -> list[Task]:
    """Returns tasks by name, whose answers are at most so long."""
    loaded = [tasks.load(name) for name in names]
    for task in loaded:
        task.max_new_tokens = min(task.max_new_tokens, max_new_tokens or task.max_new_tokens)
    return loaded


class Study:
    """The trainings of one run, beside one base."""

    def __init__(self, base: Base, run: Run):
        self.base, self.run = base, run
        self._lost = run.path / "lost.json"
        self.lost: dict[str, str] = files.read_json(self._lost) if self._lost.exists() else {}

    @property
    def pilot(self) -> "Study":
        """Returns a study of its own for trainings that only choose settings."""
        return Study(self.base, Run(self.run.path / "pilot"))

    def library(self, seed: int, name: str = "experts") -> Library:
        """Returns the library of one seed; a study may have several."""
        return Library(self.run.path / "libraries" / f"{name}-s{seed}", self.base.hash, self.base.name)

    def train(self, trainings: Mapping[str, Training], seed: int, library: Library | None = None) -> dict[str, Expert]:
        """Returns the experts, by name. What is missing is trained, side by side where settings and start are the same.

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

    def arms(self, trainings: Mapping[str, Training], seed: int) -> dict[str, Arm]:
        """Returns the same as arms of one expert."""
        return {name: Arm(name, [expert]) for name, expert in self.train(trainings, seed).items()}

    def keep(
        self, name: str, seed: int, make: Callable[..., Arm | Expert], library: Library | None = None
    ) -> Arm | None:
        """Returns the arm of this name that the library keeps; else what `make` returns, kept from now on with its experts.

        `make` is called with `name`, the name with the seed, for metrics and for experts. None if it diverges.
        """
        library, whole = library or self.library(seed), f"{name} s{seed}"
        if whole not in library and whole not in arms(library):
            if whole in self.lost:
                return None
            try:
                made = make(name=whole)
            except Diverged as error:
                self.lose({whole: str(error)})
                return None
            if isinstance(made, Expert):
                library.add(replace(made, name=whole), overwrite=True)
            else:
                keep_bank(library, replace(made, name=whole))
        return Arm(name, [library[whole]]) if whole in library else replace(load_arm(library, whole), name=name)

    def route(
        self,
        name: str,
        seed: int,
        experts: Sequence[Expert],
        router: str,
        args: Mapping[str, Any],
        data: Data,
        settings: Mapping[str, Any],
        library: Library | None = None,
    ) -> Arm | None:
        """Returns finished experts under a router. A router that learns from examples (`data`) is trained once and kept.

        `settings` are those of `RouterSettings`, and `mix`; with learning_rate 0 the router stays as it begins.
        """
        learns = find("routers", router).learns
        if learns in (None, "jointly"):
            return Arm(name, experts, router, args)

        def make(name: str) -> Arm:
            options = {key: settings[key] for key in ("mix", "granularity") if key in settings}
            torch.manual_seed(seed)  # a random start is drawn from torch's generator, and the training draws the same
            if learns == "answers" and settings.get("learning_rate") == 0:
                start = begin(self.base, experts, find("routers", router)(**args), **options)
                training = {**settings, "moved": 0.0}
                return Arm(name, experts, router, args, start, tasks=tuple(data), training=training)
            how = RouterSettings(seed=seed, **{key: value for key, value in settings.items() if key != "mix"})
            arm = Arm(name, experts, router, args, mix=settings.get("mix", "outputs"))
            return train_arm(self.base, arm, data, self.run, how)

        return self.keep(name, seed, make, library)

    def build(
        self, way: str, seed: int, data: Data, settings: Settings, name: str = "", **more: Any
    ) -> tuple[Library, Partition]:
        """Returns a library built in one of the ways of `training.build`, which keeps what is there, and who learnt from what.

        `name` is that of the library, by default the way; `more` are arguments of the way, and `brief_library` of `build`.
        """
        name, clusters = name or way, range(more.get("clusters", 0))
        groups = [*data, "shared", *(f"{kind}{k}" for kind in ("cluster", "random") for k in clusters)]
        names = {group: f"{name} {group.rpartition('/')[2]} s{seed}" for group in groups}
        library, brief = self.library(seed, name), more.pop("brief_library", None)
        how = _build(way, more)
        return library, build(self.base, library, how, data, self.run, settings, names=names, brief_library=brief)

    def bank(self, way: str, seed: int, data: Data, settings: Settings, rate: float, **more: Any) -> Arm | None:
        """Returns the bank of `training.build_bank` (poly or mhr) under its table of tasks, which learns at this rate."""
        how = _build(way, {"router_learning_rate": rate, **more})
        return self.keep(way, seed, partial(build_bank, self.base, how, data, self.run, settings))

    def new_tasks(self, bank: Arm | None, seed: int, data: Data, settings: Settings, rate: float) -> Arm | None:
        """Returns a bank for new tasks: only rows of the table are learnt, from the mean of the old ones; the experts stay."""
        if bank is None:
            return None
        make = partial(take_up, self.base, bank, data, self.run, settings, router_learning_rate=rate)
        return self.keep(f"{bank.name}-z", seed, make)

    def logps(self, arm: Arm, examples: Sequence[Example], batch_size: int = 128) -> list[float]:
        """Returns the log p per token of each answer, as this arm gives it."""
        with arm.attached(self.base) as banks:
            return score_answers(self.base, examples, banks=banks, batch_size=batch_size)

    def logp(self, arm: Arm, examples: Sequence[Example]) -> float:
        """Returns the mean of `logps`."""
        return fmean(self.logps(arm, examples))

    def evaluate(
        self, arms: Mapping[str, Arm | None], asked: Sequence[Task | str], seed: int, **settings: Any
    ) -> list[dict[str, Any]]:
        """Asks the base and every arm that did not diverge all of these tasks; `settings` are those of `evaluate`."""
        there = [Arm("base"), *(replace(arm, name=name) for name, arm in arms.items() if arm is not None)]
        loaded = [tasks.load(task) if isinstance(task, str) else task for task in asked]
        return evaluate(self.base, there, loaded, self.run, **{"seed": seed, "traced": 0, **settings})

    def new_base(self, expert: Expert) -> Base:
        """Returns a base whose weights have this expert in them, kept in `base` of the run: its knowledge is the base's now."""
        folder = self.run.path / "base"
        if not folder.exists():
            model: Any = copy.deepcopy(self.base.model)
            with torch.no_grad():
                for layer in expert.factors:
                    weight(model.get_submodule(layer)).add_(expert.delta(layer))
            with files.new_folder(folder) as new:
                model.save_pretrained(new)
                self.base.tokenizer.save_pretrained(new)
        device = str(next(self.base.model.parameters()).device)
        loaded = load_base(str(folder), dtype=self.base.dtype, device=device, chat_template="none")
        return replace(loaded, chat_template=self.base.chat_template)

    def result(self, model: str, metric: str, value: float, seed: int, **more: Any) -> None:
        """Writes a row of results.jsonl for a number that `evaluate` does not know, once."""
        row = {"run": self.run.path.name, "base": self.base.name, "base_hash": self.base.hash, **self.base.reads}
        row |= {"model": model, "task": "all", "metric": metric, "seed": seed, "split": "test"}
        if not any(row.items() <= old.items() for old in self.run.results()):
            self.run.result({**row, "value": float(value), **more})

    def save(self, title: str, findings: Iterable[Finding | None]) -> None:
        """Writes `findings.json`; what diverged stands last."""
        lost = Finding("Diverged, and missing from all tables", [f"{name}: {why}" for name, why in self.lost.items()])
        save(
            self.run.path,
            title,
            [finding for finding in (*findings, lost if self.lost else None) if finding is not None],
        )

    def lose(self, reasons: Mapping[str, str]) -> None:
        """Notes what diverged."""
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


def _build(way: str, options: Mapping[str, Any]) -> Any:
    """Returns a way to fill a library, with those of several arguments that it takes."""
    return BUILDS[way](**{key: value for key, value in options.items() if key in BUILDS[way].model_fields})
