"""Questions of several kinds and languages, easy and hard ones in English and Japanese: who reads what, in which order."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from statistics import fmean

from yosegi.bases import Base
from yosegi.engine.arm import Arm
from yosegi.errors import Invalid
from yosegi.evaluation.passages import Passages
from yosegi.findings import Finding
from yosegi.run import Run
from yosegi.study.measures import measures
from yosegi.study.study import Study, Training, load
from yosegi.study.sweep import Option, Sweep, sweep
from yosegi.study.tables import changes
from yosegi.tasks import Example, Task
from yosegi.training.loramoe import EXPERTS, loramoe
from yosegi.training.settings import LoraMoeSettings, Settings

EVERY = ("both", "mixed", "all", "known")
"""Names of all kinds, of all languages, and of groups of questions."""
OTHERS = ", others"

Typed = dict[str, dict[str, list[Example]]]
"""Type -> task -> examples."""


@dataclass(frozen=True)
class Kinds:
    """The tasks of a study."""

    tasks: Mapping[str, Sequence[tuple[str, Task]]]  # by kind, each with its language
    train: Mapping[str, Sequence[Example]]  # by the name of the task; none of a task that is only asked

    @property
    def languages(self) -> list[str]:
        """Returns the languages, in order."""
        return list(dict.fromkeys(language for pairs in self.tasks.values() for language, _ in pairs))

    @property
    def whole(self) -> str:
        """Returns the name of all languages together."""
        return "mixed" if len(self.languages) > 1 else self.languages[0]

    def of(self, kind: str = "both", language: str = "mixed") -> list[Task]:
        """Returns the tasks of a kind and a language; "both" and "mixed" are all of them."""
        pairs = [pair for k, several in self.tasks.items() if kind in (k, "both") for pair in several]
        return [task for spoken, task in pairs if language in (spoken, "mixed")]

    def learnt(self, kind: str = "both", language: str = "mixed") -> dict[str, list[Example]]:
        """Returns the training examples of the tasks that are learnt from."""
        return {task.name: list(self.train[task.name]) for task in self.of(kind, language) if self.train[task.name]}

    def can_learn(self, kind: str, language: str) -> bool:
        """Returns whether there is something to learn from of this kind, or of each kind."""
        return all(self.learnt(one, language) for one in (self.tasks if kind == "both" else (kind,)))

    def typed(self, language: str, by: str = "kind", seed: int = 0) -> Typed:
        """Returns what a bank reads, by type: the kinds, the languages, or random types with as many rows as the kinds have."""
        if by == "language":
            by_language = {name: self.learnt("both", name) for name in self.languages}
            return {name: rows for name, rows in by_language.items() if rows}
        data = {kind: self.learnt(kind, language) for kind in self.tasks}
        if by == "kind":
            return data
        labels = [kind for kind, of_kind in data.items() for rows in of_kind.values() for _ in rows]
        Random(seed).shuffle(labels)
        drawn: Typed = {kind: {} for kind in data}
        for task, row in [(task, row) for of_kind in data.values() for task, rows in of_kind.items() for row in rows]:
            drawn[labels.pop()].setdefault(task, []).append(row)
        return drawn

    def groups(self) -> dict[str, list[Task]]:
        """Returns the tasks of every kind in every language, as "easy en"."""
        groups = {f"{kind} {language}": self.of(kind, language) for kind in self.tasks for language in self.languages}
        return {name: several for name, several in groups.items() if several}

    def fit_all(
        self, study: Study, ways: Mapping[str, "Way"], rates: Mapping[str, float], seed: int
    ) -> dict[str, Arm | None]:
        """Returns every arm at its learning rate; the LoRAs that are trained alike are trained side by side."""
        loras = [(name, way, rates[name]) for name, way in ways.items() if not way.is_bank]
        study.train({f"{name} {lr:g}": way.training(self, lr, seed) for name, way, lr in loras}, seed)
        return {name: way.fit(study, self, name, rates[name], seed) for name, way in ways.items()}

    def choose_rates(
        self,
        study: Study,
        ways: Mapping[str, "Way"],
        rates: Sequence[float],
        known: Sequence[Task],
        count: int,
        seed: int,
    ) -> Sweep:
        """Chooses the learning rate of every arm that takes no other's, by the log p of what is learnt, on a few validation
        questions of each task. The second number of an option is the log p of what was known."""
        learnt = validation([task for task in self.of() if self.train[task.name]], count)
        asked = [several for several in (learnt, validation(known, count)) if several]

        def measure(name: str, option: Option) -> list[float] | None:
            arm = ways[name].fit(study, self, name, option["lr"], seed)
            return arm and [fmean(study.logp(arm, few) for few in several) for several in asked]

        grids = {name: {"lr": rates} for name, way in ways.items() if not way.like}
        return sweep(study.run.path / "settings.json", grids, measure, "choose learning rates")

    def measured(self, run: Run, general: Sequence[Task], seed: int) -> dict[str, list[Task]]:
        """Returns all questions, those of each kind and language, what was known, texts, and what the base only guesses."""
        groups = {"all": self.of(), **{kind: self.of(kind) for kind in self.tasks}}
        groups |= {language: self.of("both", language) for language in self.languages if language != self.whole}
        texts = [task for task in general if isinstance(task, Passages)]
        guessed = [task for task in general if task not in texts and at_chance(run, task.name, seed)]
        known = [task for task in general if task not in (*texts, *guessed)]
        return groups | {"known": known, "texts": texts, "guessed by the base": guessed}


@dataclass(frozen=True)
class Way:
    """One LoRA, or a bank (with `LoraMoeSettings`), on questions of a kind and a language."""

    settings: Settings  # all but the learning rate and the seeds
    kind: str = "both"
    language: str = "mixed"
    types: str = "kind"  # of a bank: kind, language or random
    like: str = ""  # the arm whose learning rate it takes
    experts: int = EXPERTS  # of a bank

    @property
    def is_bank(self) -> bool:
        """Returns whether it is a bank."""
        return isinstance(self.settings, LoraMoeSettings)

    def training(self, kinds: Kinds, lr: float, seed: int) -> Training:
        """Returns the training of one LoRA. LoRAs and banks read the same rows in the same order."""
        rows = kinds.learnt(self.kind, self.language)
        settings = self.settings.model_copy(update={"learning_rate": lr, "seed": seed, "init_seed": seed})
        return Training([row for several in rows.values() for row in several], settings, [*rows])

    def fit(self, study: Study, kinds: Kinds, name: str, lr: float, seed: int) -> Arm | None:
        """Returns the arm at a learning rate, or None if it diverges."""
        whole = f"{name} {lr:g}"
        if not self.is_bank:
            return study.arms({whole: self.training(kinds, lr, seed)}, seed).get(whole)
        settings = self.settings.model_copy(update={"learning_rate": lr, "seed": seed, "init_seed": 100 * seed})
        typed = kinds.typed(self.language, self.types, seed)
        more = {"experts": self.experts, "in_order": kinds.learnt(self.kind, self.language)}
        return study.keep(whole, seed, partial(loramoe, study.base, typed, study.run, settings, **more))

    def timed(self, base: Base, kinds: Kinds, name: str) -> Callable[[Run, int], object]:
        """Returns what `measure_pace` takes: the same for so many steps, in a run of its own."""

        def training(run: Run, steps: int) -> object:
            brief = replace(self, settings=self.settings.model_copy(update={"max_steps": steps}))
            return brief.fit(Study(base, run), kinds, name, 1e-5, 0)

        return training


def read_kinds(
    named: Mapping[str, Sequence[str]], limit: int | None = None, max_new_tokens: int | None = None
) -> Kinds:
    """Returns the tasks of each kind, written LANGUAGE=TASK. What cannot be right is Invalid."""
    tasks: dict[str, list[tuple[str, Task]]] = {}
    for kind, texts in named.items():
        for text in texts:
            language, equals, name = (part.strip() for part in text.partition("="))
            if not (equals and language and name) or language in (*EVERY, *named):
                raise Invalid(f"--{kind} {text!r} is not LANGUAGE=TASK, as in en=gsm8k.")
            tasks.setdefault(kind, []).append((language, load([name], max_new_tokens)[0]))
        if kind not in tasks:
            raise Invalid(f"There are no {kind} tasks (--{kind} LANGUAGE=TASK).")
    every = [task for pairs in tasks.values() for _, task in pairs]
    check_once(every)
    train: dict[str, list[Example]] = {task.name: [] for task in every}
    for task in every:
        task.examples("test")  # it is asked after hours: now is the time to say that there is none
        with suppress(Invalid):  # there may only be a test split
            train[task.name] = task.sample("train", limit)
    kinds = Kinds(tasks, train)
    if not kinds.can_learn("both", "mixed"):
        raise Invalid(f"Of each kind ({', '.join(named)}) at least one task needs a training split.")
    return kinds


def read_general(names: Sequence[str], kinds: Kinds, most: int, max_new_tokens: int | None = None) -> list[Task]:
    """Returns the tasks that show what is forgotten, a corpus as at most so many passages. A task that is learnt is Invalid."""
    asked = [
        Passages(name, most=most) if name.startswith("corpus/") else load([name], max_new_tokens)[0] for name in names
    ]
    check_once([*kinds.of(), *asked])
    return asked


def check_once(tasks: Sequence[Task]) -> None:
    """Raises Invalid if a task is there twice."""
    names = [task.name for task in tasks]
    if twice := [name for name in names if names.count(name) > 1]:
        raise Invalid(f"The task {twice[0]!r} is named twice.")


def validation(tasks: Sequence[Task], count: int) -> list[list[Example]]:
    """Returns a few validation questions of each task that has some."""
    questions = []
    for task in tasks:
        with suppress(Invalid):
            questions.append(task.sample("validation", count))
    return [examples for examples in questions if examples]


def cells(groups: Mapping[str, Sequence[Task]], count: int) -> dict[str, list[Example]]:
    """Returns test questions of each group, so many in all, and as many OTHERS: how far do two samples of one group lie apart?"""
    samples: dict[str, list[Example]] = {}
    for name, tasks in groups.items():
        each = max(1, count // max(1, len(tasks)))
        for label, first in ((name, 0), (name + OTHERS, each)):
            if sample := [e for task in tasks for e in task.examples("test")[first : first + each]]:
                samples[label] = sample
    return samples


def at_chance(run: Run, task: str, seed: int) -> bool:
    """Returns whether the base does no better than a guess where guessing makes sense: by the letter, if one is asked for."""
    rows = [r for r in run.results() if (r["model"], r["task"], r["seed"]) == ("base", task, seed) and "chance" in r]
    rows.sort(key=lambda row: row["metric"] != "letter")
    return bool(rows) and rows[0]["ci_low"] <= rows[0]["chance"]


def shown_finding(
    study: Study, tasks: Sequence[Task], shots: int, seed: int, limit: int, max_new_tokens: int | None = None
) -> Finding | None:
    """Returns the base alone, after worked examples and without, on the tasks that have such a form."""
    shown: dict[str, Task] = {}
    for task in tasks if shots else ():
        with suppress(Invalid, LookupError):
            shown[task.name] = load([f"{task.name}/{shots}shot"], max_new_tokens)[0]
    if not shown:
        return None
    study.evaluate({}, list(shown.values()), seed, limit=limit)
    plain, after = (measures(study.run, {"": names}, logp=False)[0] for names in ([*shown], [*shown.values()]))
    scores = {"none": plain.scores["base"], f"{shots} worked examples": after.scores["base"]}
    same = replace(plain, group="the same questions", scores=scores)
    return changes([same], ["The base alone."], "The base after worked examples", against="none")
