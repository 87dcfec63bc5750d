"""Trainings of several stages, each of which moves its own entries of an expert: LoRA-PAR and its controls, written in a line.

    pissa | fast: alpha 1 | grpo: beta 1

A way begins at an initialiser (and some linears, by their letters: "pissa QKV"); each stage is DATA: ENTRIES. The data are "fast"
or "all" questions, learnt by SFT, or "grpo": slow ones, learnt by reward. Entries are those of training/entries.py. Ways that
begin alike share their first stages, and what is trained alike is trained side by side.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from statistics import fmean
from typing import Any

from yosegi.core.expert import Expert
from yosegi.study.study import Study, Training
from yosegi.study.sweep import Sweep, sweep
from yosegi.tasks import Example, Task
from yosegi.training.entries import Entries
from yosegi.training.grpo import Question
from yosegi.training.settings import GrpoSettings, Settings

LINEARS = {"Q": "q_proj", "K": "k_proj", "V": "v_proj", "G": "gate_proj", "U": "up_proj", "D": "down_proj"}


class Stages:
    """The ways of one study, on fast (System 1) and slow (System 2) examples.

    Args:
        study: whose base they stand on.
        fast: examples of System 1.
        slow: examples of System 2.
        tasks: those of the slow examples.
        sft: settings of every SFT stage; initialiser, linears and seeds are those of the way and of the study's seed.
        grpo: settings of every GRPO stage; its learning rate is chosen for each start.
        entries: further arguments of `Entries`.
    """

    def __init__(
        self, study: Study, fast: Sequence[Example], slow: Sequence[Example], tasks: Sequence[Task], sft: Settings,
        grpo: GrpoSettings, **entries: Any,
    ):  # fmt: skip
        self.study, self.tasks, self.sft, self.grpo = study, tasks, sft, grpo
        owner = {example.id: task for task in tasks for example in task.examples("train")}
        questions = [Question(owner[example.id], example) for example in slow]
        self.examples: dict[str, Sequence[Any]] = {"fast": fast, "all": [*fast, *slow], "grpo": questions}
        self.rates: dict[str, float] = {}
        # What matters to an expert that begins like this; measured once.
        self.entries = cache(
            lambda start, seed: Entries(study.base, self._settings(start, seed), fast, slow, **entries)
        )

    def train(self, ways: Mapping[str, str], seed: int) -> dict[str, Expert]:
        """Returns the experts, by arm; one that diverges in any stage is missing."""
        cut = {arm: way.split(" | ") for arm, way in ways.items()}
        done: dict[str, Expert] = {}
        for n in range(1, max(map(len, cut.values()), default=0)):
            todo: dict[str, Training] = {}
            for parts in cut.values():
                before = " | ".join(parts[:n])
                if len(parts) > n and (n == 1 or before in done):
                    todo[" | ".join(parts[: n + 1])] = self._stage(parts[0], parts[n], done.get(before), seed)
            done |= self.study.train(todo, seed)
        return {arm: done[way] for arm, way in ways.items() if way in done}

    def choose_rates(self, starts: Sequence[str], rates: Sequence[float], steps: int, asked: int, seed: int) -> Sweep:
        """Chooses the learning rate of GRPO for each start: the one that answers most validation questions (`asked` of each task)
        after so many steps, all entries moving."""

        def pilot(start: str, option: Mapping[str, Any]) -> list[float] | None:
            begun = self.train({start: f"{start} | all: all"}, seed)[start]
            self.rates[start], name = option["lr"], f"{start} lr {option['lr']:g}"
            training = self._stage(start, "grpo: all", begun, seed)
            brief = training.settings.model_copy(update={"max_steps": steps})
            arms = self.study.pilot.arms({name: replace(training, settings=brief)}, seed)
            rows = self.study.pilot.evaluate(arms, self.tasks, seed, split="validation", limit=asked, batch_size=128)
            right = [row["value"] for row in rows if row["model"] == name and row["metric"] == "accuracy"]
            return [fmean(right)] if right else None

        tried = sweep(self.study.run.path / "rates.json", {start: {"lr": rates} for start in starts}, pilot)
        self.rates |= {start: option["lr"] for start, option in tried.chosen.items()}
        return tried

    def _settings(self, start: str, seed: int) -> Settings:
        init, _, letters = start.partition(" ")
        targets = [LINEARS[letter] for letter in letters] or "all-linear"
        return self.sft.model_copy(update={"init": init, "targets": targets, "seed": seed, "init_seed": seed})

    def _stage(self, start: str, text: str, before: Expert | None, seed: int) -> Training:
        """Returns DATA: ENTRIES as a training that goes on from an expert."""
        kind, _, what = text.partition(": ")
        if kind != "grpo":
            mask = None if what == "all" else self.entries(start, seed).mask(what, seed)
            return Training(self.examples[kind], self._settings(start, seed), start=before, mask=mask)
        how = self.grpo.model_copy(update={"init": start, "learning_rate": self.rates[start], "seed": seed})
        entries = self.entries(start, seed)
        return Training(self.examples[kind], how, start=before or entries.initial(), mask=entries.mask(what, seed))
