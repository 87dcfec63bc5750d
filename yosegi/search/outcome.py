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

from yosegi import files
from yosegi.bases import short_hash
from yosegi.engine.arm import Arm
from yosegi.engine.kept import arms, read_arm, save_arm
from yosegi.engine.spec import spec
from yosegi.errors import Invalid
from yosegi.library.card import check_name
from yosegi.library.store import Library
from yosegi.run import Run
from yosegi.search.draws import DONE
from yosegi.search.findings import findings
from yosegi.search.settings import Search, SearchSettings, open_search
from yosegi.search.study import search, study_of
from yosegi.search.trials import Tried, choose, front, tried
from yosegi.spec import read, write_method

FILE = "best.yaml"


def search_arms(settings: SearchSettings, run: str | Path | None = None) -> "Outcome":
    """Searches on validation questions; test is never read. Interrupted, the same call goes on.

    Args:
        settings: what is searched, and by which questions.
        run: the folder for the study, the findings and best.yaml; by default one below runs/.

    Raises:
        KeyboardInterrupt: interrupted; the files in the folder say what is known so far.
    """
    library, keep = Library(settings.library), settings.keep
    if keep and check_name(keep) in library:
        raise Invalid(f"{library.path} has an expert called {keep!r}. Choose another name for the arm.")
    earlier = read_arm(library, keep)["training"] if keep and keep in arms(library) else None
    if earlier is not None and "search" not in earlier and not settings.overwrite:
        raise Invalid(f"{library.path} has an arm called {keep!r}: --overwrite replaces it, or choose another name.")
    opened = open_search(settings)
    folder = Run(run or Path("runs") / f"search-{library.path.name}")
    try:
        study, interrupted = search(opened, folder), False
    except KeyboardInterrupt:
        study, interrupted = study_of(opened, folder.path), True
    if not (trials := tried(study, opened.space)) and interrupted:
        raise KeyboardInterrupt
    outcome = Outcome(opened, folder, study, trials, choose(trials))
    findings(folder, study, opened)
    outcome.write()
    if interrupted:
        raise KeyboardInterrupt
    if keep:
        outcome.keep(library, keep)
    return outcome


@dataclass(frozen=True)
class Outcome:
    """A search and what it found.

    Args:
        search: what was searched.
        run: its folder.
        study: every trial.
        trials: the finished ones.
        best: the one to take.
    """

    search: Search
    run: Run
    study: Study
    trials: Sequence[Tried]
    best: Tried

    @property
    def spec(self) -> Any:
        """The chosen arm as a spec. Weights of several groups of layers have none: they are listed by group."""
        arm, space = self.best.arm, self.search.space
        if arm.router_state and arm.weights is None:  # a kept router with other arguments
            return write_method(read(space.arms[0].name)[0], arm.router_args)
        if arm.merge is None or len(space.labels) == 1:
            return spec(arm)
        rows = zip(space.labels, space.weights(self.best.params), strict=True)
        groups = {label: dict(zip(space.experts, w_E, strict=True)) for label, w_E in rows}
        return {"method": arm.merge, **{k: v for k, v in arm.merge_args.items() if k != "weights"}, "groups": groups}

    @property
    def next(self) -> str:
        """How to measure the choice on test, or why there is nothing to measure."""
        settings, arm = self.search.settings, self.spec
        if not self.best.arm.experts:
            return (
                "Nothing to measure: no blend was better than the base alone; more --trials, other experts, --negative?"
            )
        if not settings.keep and not isinstance(arm, str):
            return "To measure it, keep the weights of all layers: the same search with --keep NAME, then yosegi eval --arm NAME"
        asked = " ".join(f"--task {shlex.quote(goal.task.name)}" for goal in self.search.probe.goals)
        name = shlex.quote(settings.keep or arm)
        return f"Measure it: yosegi eval --base {settings.base} --library {settings.library} --arm {name} {asked}"

    def describe(self) -> dict[str, Any]:
        """Returns the choice and the baselines as plain data."""
        means = {one.label: dict(zip(self.search.probe.labels, one.means, strict=True)) for one in self.trials}
        return {
            "run": str(self.run.path),
            "chosen": self.best.label,
            "value": self.best.value,
            "score": self.best.score,
            "arm": self.spec,
            "means": means[self.best.label],
            "baselines": {one.label: means[one.label] for one in self.trials if one.baseline},
            "trials": len(self.trials),
            "front": [one.label for one in front(self.trials)] if self.search.settings.pareto else None,
        }

    def write(self) -> None:
        """Writes `best.yaml` in the folder of the run; `yosegi merge --config` reads it where the arm is a merge."""
        tasks, name = ", ".join(self.search.settings.task), self.search.settings.keep or "searched"
        head = f"# {self.best.label}: {self.best.score:.6g} on validation ({tasks}). {self.next}\n"
        text = yaml.safe_dump({"arm": self.spec, "name": name}, sort_keys=False, allow_unicode=True, width=10_000)
        files.write(self.run.path / FILE, head + text)

    def named(self, name: str) -> Arm:
        """Returns the chosen arm under a name, with how it was found."""
        best, settings = self.best, self.search.settings
        if not best.arm.experts:
            raise Invalid(
                f"The base alone was best on validation ({best.score:.4f}): there is nothing to keep as {name!r}."
            )
        how = {
            "tasks": settings.task, "split": "validation", "sampler": settings.sampler, "penalty": self.search.penalty,
            "trials": len(self.study.get_trials(deepcopy=False, states=DONE)), "chosen": best.label, "seed": settings.seed,
        }  # fmt: skip
        metrics = {f"validation {goal}": mean for goal, mean in zip(self.search.probe.labels, best.means, strict=True)}
        training = {**best.arm.training, "template": short_hash(self.search.base.chat_template)}
        return replace(best.arm, name=name, training={**training, "search": how, "metrics": metrics})

    def keep(self, library: Library, name: str) -> None:
        """Saves the chosen arm in the library of its experts, unless it is kept already as it is."""
        arm = self.named(name)
        if name in arms(library):
            kept, fields = read_arm(library, name), ("training", "merge_args", "router_args")
            if all(kept[key] == json.loads(json.dumps(getattr(arm, key))) for key in fields):
                return
        save_arm(library, arm, overwrite=self.search.settings.overwrite)
