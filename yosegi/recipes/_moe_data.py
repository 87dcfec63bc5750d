"""What `loramoe` reads, and what a step of each way costs."""

import os
import tempfile
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from random import Random
from statistics import median
from typing import Any

import torch

from yosegi import tasks
from yosegi.bases import Base
from yosegi.errors import Invalid
from yosegi.inits import fresh
from yosegi.recipes._domain_texts import Texts
from yosegi.run import Run
from yosegi.tasks import Example, Task

KINDS = ("easy", "hard")
LONGER, OFF = "LoRA both, as long", "LoRAMoE, router off"
KEEPS = "LoRA both, keeps as much"
OTHERS = ", others"
SPARE = 1.02
"""A bank that takes at most so much longer leaves no time for more steps."""
ROUNDS = 3

Typed = dict[str, dict[str, list[Example]]]


def lora(kind: str, language: str) -> str:
    """The arm of one LoRA."""
    return f"LoRA {kind}, {language}"


def bank(beta: float, language: str) -> str:
    """The arm of a bank."""
    return f"LoRAMoE β {beta:g}, {language}"


@dataclass(frozen=True)
class Plan:
    """The tasks of a study.

    Args:
        by_kind: easy and hard -> language and task.
        known: what the base knows: questions.
        texts: plain texts that nothing is trained on.
        shown: the same questions after a few worked ones, by the task's name, where there is such a form.
        train: by task, its training examples; none if it is only asked.
    """

    by_kind: Mapping[str, Sequence[tuple[str, Task]]]
    known: Sequence[Task]
    texts: Sequence[Task]
    shown: Mapping[str, Task]
    train: Mapping[str, Sequence[Example]]

    @property
    def languages(self) -> list[str]:
        """In order."""
        return list(dict.fromkeys(language for kind in KINDS for language, _ in self.by_kind[kind]))

    @property
    def whole(self) -> str:
        """What all languages together are called."""
        return "mixed" if len(self.languages) > 1 else self.languages[0]

    @property
    def asked(self) -> list[Task]:
        """All tasks."""
        return [*self.some("both", self.whole), *self.known, *self.texts]

    def some(self, kind: str, language: str) -> list[Task]:
        """The tasks of a kind (or "both") and a language (or "mixed"), easy ones first."""
        kinds = KINDS if kind == "both" else (kind,)
        return [task for k in kinds for its, task in self.by_kind[k] if language in (its, "mixed")]

    def names(self, kind: str, language: str) -> list[str]:
        """Of those that are learnt from."""
        return [task.name for task in self.some(kind, language) if self.train[task.name]]

    def learns(self, kind: str, language: str) -> bool:
        """Whether there is something of each kind to learn from."""
        return all(self.names(k, language) for k in (KINDS if kind == "both" else (kind,)))

    def rows(self, kind: str, language: str) -> list[Example]:
        """What one LoRA reads."""
        return [example for name in self.names(kind, language) for example in self.train[name]]

    def typed(self, language: str) -> Typed:
        """What a bank reads: the same rows in the same order, by kind."""
        return {kind: {name: list(self.train[name]) for name in self.names(kind, language)} for kind in KINDS}

    @property
    def learnt(self) -> list[Task]:
        """The tasks that are learnt from."""
        return [task for task in self.some("both", self.whole) if self.train[task.name]]

    def validation(self, some: Sequence[Task], count: int) -> list[list[Example]]:
        """A few questions of each of these tasks that has a validation split."""
        found = []
        for task in some:
            with suppress(Invalid):
                found.append(task.examples("validation")[:count])
        return [some for some in found if some]

    def cells(self, count: int) -> dict[str, list[Example]]:
        """Test questions of each kind and language, and of what is known, so many in all; and as many OTHERS, with which one can
        tell how far two lots of the same kind lie apart."""
        groups = {f"{kind} {language}": self.some(kind, language) for kind in KINDS for language in self.languages}
        groups["known"] = list(self.known)
        found: dict[str, list[Example]] = {}
        for name, some in groups.items():
            each = max(1, count // max(1, len(some)))
            for called, first in ((name, 0), (name + OTHERS, each)):
                if lot := [e for task in some for e in task.examples("test")[first : first + each]]:
                    found[called] = lot
        return found


def read(config: Any) -> Plan:
    """The tasks of a config."""
    by_kind: dict[str, list[tuple[str, Task]]] = {}
    for kind in KINDS:
        for text in getattr(config, kind):
            language, equals, name = text.partition("=")
            if not (equals and language.strip() and name.strip()) or language in ("mixed", *KINDS, "all", "known"):
                raise Invalid(f"--{kind} {text!r} is not LANGUAGE=TASK, as in en=gsm8k.")
            by_kind.setdefault(kind, []).append((language.strip(), _task(name.strip(), config)))
        if kind not in by_kind:
            raise Invalid(f"loramoe needs {kind} tasks (--{kind} LANGUAGE=TASK).")
    known, texts = [], []
    for name in config.general:
        task = _task(name, config)
        try:
            task.examples("test")
            known.append(task)
        except Invalid:  # a corpus: its passages for validation are weighed, and not written
            texts.append(Texts(name, most=config.asked))
            texts[-1].examples("validation")
    every = [task.name for some in by_kind.values() for _, task in some] + [task.name for task in (*known, *texts)]
    if twice := [name for name in every if every.count(name) > 1]:
        raise Invalid(f"The task {twice[0]!r} is named twice.")
    shown, train = {}, {}
    for task in [*(task for some in by_kind.values() for _, task in some), *known]:
        if config.shots:
            with suppress(Invalid, LookupError):
                shown[task.name] = _task(f"{task.name}/{config.shots}shot", config)
    for _, task in (pair for some in by_kind.values() for pair in some):
        task.examples("test")  # it is asked after hours: now is the time to say that there is none
        try:
            train[task.name] = task.examples("train")[: config.limit]
        except Invalid:  # there is only a test split
            train[task.name] = []
    plan = Plan(by_kind, known, texts, shown, train)
    if not plan.learns("both", plan.whole):
        raise Invalid("loramoe needs an easy and a hard task that have a training split.")
    return plan


def typed_rows(data: Typed, plan: Plan, by: str, seed: int) -> Typed:
    """The rows of a bank with their types as they are, by language, or dealt out again by lot, as many of each."""
    if by == "kind":
        return data
    if by == "language":
        every = {name: rows for of_kind in data.values() for name, rows in of_kind.items()}
        return {
            language: {name: every[name] for name in plan.names("both", language)}
            for language in plan.languages
            if plan.names("both", language)
        }
    labels = [kind for kind, of_kind in data.items() for rows in of_kind.values() for _ in rows]
    Random(seed).shuffle(labels)
    drawn: Typed = {kind: {} for kind in data}
    for of_kind in data.values():
        for name, rows in of_kind.items():
            for row in rows:
                drawn[labels.pop()].setdefault(name, []).append(row)
    return drawn


def equal_rank(base: Base, config: Any) -> int:
    """The rank of one LoRA that has as many parameters as the bank with its routers; of more, not of fewer."""
    one = fresh(base.model, "size", rank=1, alpha=1, targets=config.targets)
    inner = sum(f.A_RI.shape[1] for f in one.factors.values())
    a_rank = inner + sum(f.B_OR.shape[0] for f in one.factors.values())
    return -(-(config.experts * (config.rank * a_rank + inner)) // a_rank)


def keeper(one: Mapping[str, Any], bank: Mapping[str, Any]) -> float | None:
    """The learning rate at which one LoRA keeps as much of what is known as the bank does; of several the one that learns most.

    Args:
        one: `chosen`, and `tried`: (rate, log p of what is learnt, log p of what is known) of the LoRA.
        bank: the same of the bank.

    Returns:
        None if nobody was asked what is known, or if the rate that the LoRA chose already keeps as much. The rate that keeps
        most if none keeps as much.
    """
    goal = next(known for rate, _, known in bank["tried"] if rate == bank["chosen"])
    if goal is None:
        return None
    enough = [row for row in one["tried"] if row[2] >= goal]
    rate = max(enough, key=lambda row: row[1])[0] if enough else max(one["tried"], key=lambda row: row[2])[0]
    return None if rate == one["chosen"] else rate


@dataclass(frozen=True)
class Pace:
    """Seconds a step and megabytes of each way.

    Args:
        measured: by way, `seconds` and `peak_mb` (what two steps hold at most beside the base).
        lora: the LoRA of equal parameters.
        bank: the bank it has to be as quick as.
    """

    measured: Mapping[str, Mapping[str, float]]
    lora: str
    bank: str

    @property
    def ratio(self) -> float:
        """How much longer a step of the bank takes."""
        return self.measured[self.bank]["seconds"] / max(self.measured[self.lora]["seconds"], 1e-9)

    def longer(self, steps: int) -> int | None:
        """Steps of the LoRA in the time of the bank, if that is worth another training."""
        return round(steps * self.ratio) if self.ratio > SPARE and round(steps * self.ratio) > steps else None

    @staticmethod
    def measure(
        base: Base, trainings: Mapping[str, Callable[[Run, int], Any]], steps: int
    ) -> dict[str, dict[str, float]]:
        """Each in turn, three times; the quickest round counts. On a CPU in seconds of this process, so that a busy machine
        slows nobody down.

        Args:
            base: what is trained beside.
            trainings: by way, what trains it for so many steps.
            steps: that are timed, after one that is not.
        """
        on_cpu = next(base.model.parameters()).device.type == "cpu"
        now = time.process_time if on_cpu else time.monotonic
        seconds: dict[str, list[float]] = {way: [] for way in trainings}
        memory: dict[str, float] = {}
        for way in [way for _ in range(ROUNDS) for way in trainings]:
            with tempfile.TemporaryDirectory() as folder:
                run = _Clock(folder, now)
                trainings[way](run, steps + 1)
            seconds[way].append(median(after - before for before, after in pairwise(run.times)))
        for way, training in trainings.items():
            with tempfile.TemporaryDirectory() as folder:
                memory[way] = _peak(partial(training, Run(folder), 2), on_cpu) / 2**20
        return {way: {"seconds": min(seconds[way]), "peak_mb": memory[way]} for way in trainings}


def _peak(act: Callable[[], Any], on_cpu: bool) -> int:
    """The most bytes that `act` held at once, as torch's allocator counts them."""
    if not on_cpu:
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        act()
        return torch.cuda.max_memory_allocated() - before
    with _hushed(), torch.profiler.profile(profile_memory=True) as profiler:
        act()
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]  # type: ignore[union-attr]
    held = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()  # type: ignore[attr-defined]
        peak = max(peak, held)
    return peak


@contextmanager
def _hushed() -> Generator[None]:
    """Nothing on stderr: the profiler says there when it starts and when it ends, and cannot be told not to."""
    before, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(before, 2)
        os.close(nowhere)
        os.close(before)


class _Clock(Run):
    """A run that remembers when each step was over."""

    def __init__(self, path: str, now: Callable[[], float]):
        super().__init__(path)
        self.now, self.times = now, list[float]()

    def log(self, *rows: dict[str, Any], **row: Any) -> None:
        """One step."""
        self.times.append(self.now())
        super().log(*rows, **row)


def _task(name: str, config: Any) -> Task:
    """A task that says no more than it may."""
    task = tasks.load(name)
    if config.answer_tokens is not None:
        task.max_new_tokens = min(task.max_new_tokens, config.answer_tokens)
    return task
