"""From settings to the arm that a search chose, its spec in a file, and a kept arm: what `yosegi search` does, as a function.

search_arms(SearchSettings(task=["gsm8k:logp"], library="library", arm=["merge:cat"], keep="blend"), "runs/search").best.arm
"""

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from optuna import Study
from optuna.trial import TrialState

from yosegi import files
from yosegi.engine.arm import Arm
from yosegi.engine.kept import arms, read_arm, save_arm
from yosegi.engine.spec import spec
from yosegi.errors import Invalid
from yosegi.library.card import check_name
from yosegi.library.store import Library
from yosegi.run import Run
from yosegi.search.findings import findings
from yosegi.search.settings import Search, SearchSettings, open_search
from yosegi.search.study import search, study_of
from yosegi.search.trials import Tried, choose, front, tried
from yosegi.spec import read, write_method

FILE = "best.yaml"


@dataclass(frozen=True)
class Outcome:
    """A search and what it found.

    Args:
        search: what was searched.
        run: its folder.
        trials: every finished trial.
        best: the one to take.
    """

    search: Search
    run: Run
    trials: Sequence[Tried]
    best: Tried

    def describe(self) -> dict[str, Any]:
        """Returns the choice and the baselines as plain data."""
        labels = self.search.probe.labels
        return {
            "run": str(self.run.path),
            "chosen": self.best.label,
            "value": self.best.value,
            "score": self.best.score,
            "arm": describe(self.best, self.search),
            "means": dict(zip(labels, self.best.means, strict=True)),
            "baselines": {t.label: dict(zip(labels, t.means, strict=True)) for t in self.trials if t.baseline},
            "trials": len(self.trials),
            "front": [t.label for t in front(self.trials)] if self.search.settings.pareto else None,
        }

    @property
    def next(self) -> str:
        """The command that measures the choice on test."""
        return measure(self.best, self.search)


def search_arms(settings: SearchSettings, run: str | Path | None = None) -> Outcome:
    """Searches on validation questions; test is never read. Interrupted, the same call goes on.

    Args:
        settings: what is searched, and by which questions.
        run: the folder for the study, the findings and best.yaml; by default one below runs/.

    Raises:
        KeyboardInterrupt: interrupted; the files in the folder say what is known so far.
    """
    library = Library(settings.library)
    if settings.keep:
        _check_keep(library, settings.keep, settings.overwrite)
    opened = open_search(settings)
    folder = Run(run or Path("runs") / f"search-{library.path.name}")
    interrupted = False
    try:
        study = search(opened, folder)
    except KeyboardInterrupt:
        study, interrupted = study_of(opened, folder.path), True
    trials = tried(study, opened.space)
    if trials:
        findings(folder, study, opened)
        write(choose(trials), opened, folder.path)
    if interrupted:
        raise KeyboardInterrupt
    best = choose(trials)
    if settings.keep:
        _keep(library, named_arm(best, opened, study, settings.keep), settings.overwrite)
    return Outcome(opened, folder, trials, best)


def describe(best: Tried, opened: Search) -> Any:
    """Returns the chosen arm as a spec. Weights of several groups of layers have none: they are listed by group."""
    arm, space = best.arm, opened.space
    if not arm.experts:
        return "base"
    if arm.router_state and arm.merge is None and arm.weights is None:  # a kept router with other arguments
        return write_method(read(space.arms[0].name)[0], arm.router_args)
    if len(space.labels) <= 1 or arm.merge is None:
        return spec(arm)
    rows = zip(space.labels, space.weights(best.params), strict=True)
    groups = {label: dict(zip(space.experts, w_E, strict=True)) for label, w_E in rows}
    return {"method": arm.merge, **{k: v for k, v in arm.merge_args.items() if k != "weights"}, "groups": groups}


def measure(best: Tried, opened: Search) -> str:
    """Returns the command that measures the chosen arm on test, or why there is none."""
    settings, arm = opened.settings, describe(best, opened)
    if not best.arm.experts:
        return "nothing: no blend was better than the base alone; more --trials, other experts, --negative?"
    if not settings.keep and not isinstance(arm, str):
        return "the same search with --keep NAME keeps the weights of all layers, and then yosegi eval --arm NAME"
    asked = " ".join(f"--task {shlex.quote(goal.task.name)}" for goal in opened.probe.goals)
    name = shlex.quote(settings.keep or str(arm))
    return f"yosegi eval --base {settings.base} --library {settings.library} --arm {name} {asked}"


def write(best: Tried, opened: Search, folder: Path) -> None:
    """Writes `best.yaml` in the folder of the run; `yosegi merge --config` reads it where the arm is a merge."""
    tasks = ", ".join(opened.settings.task)
    head = f"# {best.label}: {best.score:.6g} on validation ({tasks}). Measure {measure(best, opened)}\n"
    settings = {"arm": describe(best, opened), "name": opened.settings.keep or "searched"}
    files.write(folder / FILE, head + yaml.safe_dump(settings, sort_keys=False, allow_unicode=True, width=10_000))


def named_arm(best: Tried, opened: Search, study: Study, name: str) -> Arm:
    """Returns the chosen arm under a name, with how it was found.

    Raises:
        Invalid: the base alone was best.
    """
    if not best.arm.experts:
        raise Invalid(
            f"The base alone was best on validation ({best.score:.4f}): there is nothing to keep as {name!r}."
        )
    settings, finished = opened.settings, (TrialState.COMPLETE, TrialState.PRUNED)
    trials = len(study.get_trials(deepcopy=False, states=finished))
    found = {
        "tasks": settings.task, "split": "validation", "sampler": settings.sampler, "penalty": opened.penalty,
        "trials": trials, "chosen": best.label, "seed": settings.seed,
    }  # fmt: skip
    metrics = {f"validation {goal}": mean for goal, mean in zip(opened.probe.labels, best.means, strict=True)}
    return replace(best.arm, name=name, training={**best.arm.training, "search": found, "metrics": metrics})


def _check_keep(library: Library, name: str, overwrite: bool) -> None:
    """Refuses before hours of searching what could not be kept; the arm of an earlier search may be this one's."""
    if check_name(name) in library:
        raise Invalid(f"{library.path} has an expert called {name!r}. Choose another name for the arm.")
    if name in arms(library) and not overwrite and "search" not in read_arm(library, name)["training"]:
        raise Invalid(f"{library.path} has an arm called {name!r}: --overwrite replaces it, or choose another name.")


def _keep(library: Library, arm: Arm, overwrite: bool) -> None:
    """Saves the arm, unless it is kept already as it is."""
    if arm.name in arms(library):
        kept, now = read_arm(library, arm.name), json.loads(json.dumps([arm.training, arm.merge_args, arm.router_args]))
        if [kept["training"], kept["merge_args"], kept["router_args"]] == now:
            return
    save_arm(library, arm, overwrite=overwrite)
