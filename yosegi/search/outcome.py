"""What a search found: the trial to take, the front where several objectives disagree, and the recipe as a file.

The chosen trial has the best value, penalty and all, among those that score no less than the best baseline: so a search never
ends below the base, the uniform blend or any expert alone on the questions it asked. On other questions it may, and only
`yosegi eval` on test tells.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from optuna import Study
from optuna.trial import FrozenTrial, TrialState

from yosegi import files
from yosegi.core.expert import Expert
from yosegi.engine.arm import Arm
from yosegi.engine.spec import spec
from yosegi.errors import Invalid
from yosegi.evaluation.statistics import Comparison, compare
from yosegi.search.live import fold
from yosegi.search.plan import Opened
from yosegi.search.space import Recipe, Space

FILE = "best.yaml"


@dataclass(frozen=True)
class Tried:
    """One whole trial.

    Args:
        number: of the trial.
        label: what it is called: a baseline's name, else "trial N".
        recipe: what was tried.
        value: what was to be as large as possible.
        score: the same without the penalty.
        means: of each goal.
        scores: of each goal's examples.
        baseline: whether it is one.
    """

    number: int
    label: str
    recipe: Recipe
    value: float
    score: float
    means: tuple[float, ...]
    scores: tuple[tuple[float, ...], ...]
    baseline: bool


def tried(study: Study, space: Space) -> list[Tried]:
    """Every whole trial, in the order they began."""
    baselines = space.baselines()
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return [_read(trial, space, baselines) for trial in done]


def _read(trial: FrozenTrial, space: Space, baselines: Mapping[str, Recipe]) -> Tried:
    found, label = trial.user_attrs["found"], trial.user_attrs.get("baseline")
    recipe = baselines[label] if label else space.read(trial.params)
    scores = tuple(map(tuple, found["scores"]))
    name = label or f"trial {trial.number}"
    return Tried(
        trial.number, name, recipe, found["value"], found["score"], tuple(found["means"]), scores, label is not None
    )


def choose(every: Sequence[Tried]) -> Tried:
    """The one to take; of equals the first.

    Raises:
        Invalid: there is no whole trial yet.
    """
    if not every:
        raise Invalid("No trial is finished yet: the same command goes on.")
    floor = max((one.score for one in every if one.baseline), default=float("-inf"))
    return max((one for one in every if one.score >= floor), key=lambda one: (one.value, -one.number))


def best_baseline(every: Sequence[Tried]) -> Tried | None:
    """The baseline with the highest score; None as long as none is finished."""
    return max((one for one in every if one.baseline), key=lambda one: (one.score, -one.number), default=None)


def gain(best: Tried, against: Tried) -> list[Comparison]:
    """Goal by goal, question by question."""
    return [compare(after, before) for after, before in zip(best.scores, against.scores, strict=True)]


def front(every: Sequence[Tried]) -> list[Tried]:
    """Those that no other beats in one goal without losing in another (Pareto), the first of equals."""

    def beaten(one: Tried) -> bool:
        return any(
            all(a >= b for a, b in zip(other.means, one.means, strict=True))
            and (other.means != one.means or other.number < one.number)
            for other in every
            if other is not one
        )

    return [one for one in every if not beaten(one)]


def keep(best: Tried, opened: Opened, study: Study, name: str) -> Expert:
    """The chosen merge as one expert; its card says how it was found.

    Raises:
        Invalid: the base alone was best, or a router.
    """
    expert = fold(opened.experts, best.recipe, opened.groups, name)
    if not expert.factors:
        raise Invalid(
            f"The base alone was best on validation ({best.score:.4f}): there is nothing to keep as {name!r}."
        )
    recipe = {
        "merge": best.recipe.method,
        "weights": _weights(opened.space, best.recipe),
        **best.recipe.args,
        "search": {
            "tasks": list(opened.plan.tasks),
            "split": "validation",
            "sampler": opened.plan.sampler,
            "penalty": opened.penalty,
            "trials": len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))),
            "chosen": best.label,
            "seed": opened.plan.seed,
        },
    }
    metrics = {f"validation {label}": value for label, value in zip(opened.exam.labels, best.means, strict=True)}
    return replace(expert, card={**expert.card, "training": recipe, "metrics": metrics})


def describe(best: Tried, opened: Opened, name: str = "searched") -> dict[str, Any]:
    """The recipe as `yosegi merge --config` reads it; with several groups of layers, or a router, as a person does."""
    recipe, names = best.recipe, opened.space.experts
    args = {key: value for key, value in recipe.args.items() if value is not None}
    if recipe.kind == "routers":
        return {"router": opened.plan.router, **args}
    heard = [e for e in range(len(names)) if any(w_E[e] for w_E in recipe.weights_GE)]
    found: dict[str, Any] = {"experts": [names[e] for e in heard], "method": recipe.method, "name": name}
    if len(recipe.weights_GE) == 1:
        found["weights"] = [recipe.weights_GE[0][e] for e in heard]
    else:
        found["groups"] = {
            label: {names[e]: w_E[e] for e in heard}
            for label, w_E in zip(opened.space.groups, recipe.weights_GE, strict=True)
        }
    return found | args


def settings_of(best: Tried, opened: Opened, name: str = "searched") -> dict[str, Any]:
    """Returns what `yosegi merge --config` reads: the arm as a spec; what no merge can make is described instead."""
    found = describe(best, opened, name)
    if not found.get("weights"):
        return found
    by_name = {expert.name: expert for expert in opened.experts}
    args = {key: value for key, value in found.items() if key not in ("experts", "method", "name", "weights")}
    experts = tuple(by_name[expert] for expert in found["experts"])
    arm = Arm(name, experts, merge=found["method"], merge_args={**args, "weights": found["weights"]})
    return {"arm": spec(arm), "name": name}


def write(best: Tried, opened: Opened, folder: Path, name: str = "searched") -> Path:
    """`best.yaml` in the folder of the run."""
    how = f"yosegi merge --library {opened.plan.library} --config {folder / FILE}"
    if best.recipe.kind == "routers":
        how = "yosegi eval --router and these settings"
    elif not any(any(w_E) for w_E in best.recipe.weights_GE):
        how = "nothing to merge: the base alone was best"
    elif len(best.recipe.weights_GE) > 1:
        how = "weights by group of layers: yosegi search --keep NAME makes the expert"
    head = f"# {best.label}: {best.score:.6g} on validation ({', '.join(opened.plan.tasks)}). {how}\n"
    files.write(
        folder / FILE, head + yaml.safe_dump(settings_of(best, opened, name), sort_keys=False, allow_unicode=True)
    )
    return folder / FILE


def _weights(space: Space, recipe: Recipe) -> Any:
    named = {
        group: dict(zip(space.experts, w_E, strict=True))
        for group, w_E in zip(space.groups, recipe.weights_GE, strict=False)
    }
    return named if len(named) > 1 else next(iter(named.values()), {})
