"""The finished trials of a search: which one to take, and the front where several objectives disagree.

The chosen trial has the best value, penalty and all, among those that score no less than the best baseline: so a search never
ends below the base, the uniform blend or any expert alone on the questions it asked. On other questions it may, and only
`yosegi eval` on test tells.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from optuna import Study
from optuna.trial import TrialState

from yosegi.engine.arm import Arm
from yosegi.errors import Invalid
from yosegi.evaluation.statistics import Comparison, compare
from yosegi.search.space import Space


class Tried(NamedTuple):
    """One finished trial: its place, the name of its baseline or "trial N", its parameters and arm, what was to be as large as
    possible, the same without the penalty, the mean of each goal, and the scores of each goal's examples."""

    number: int
    label: str
    params: Mapping[str, Any]
    arm: Arm
    value: float
    score: float
    means: tuple[float, ...]
    scores: tuple[tuple[float, ...], ...]
    baseline: bool


def tried(study: Study, space: Space) -> list[Tried]:
    """Returns every finished trial, in the order of their places."""
    baselines, trials = space.baselines(), list[Tried]()
    whole = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    for trial in sorted(whole, key=lambda trial: trial.user_attrs["place"]):
        result, label, place = trial.user_attrs["result"], trial.user_attrs.get("baseline"), trial.user_attrs["place"]
        name = label or f"trial {place}"
        params, arm = baselines[label] if label else (trial.params, space.arm(trial.params, name))
        means, scores = tuple(result["means"]), tuple(map(tuple, result["scores"]))
        values = result["value"], result["score"]
        trials.append(Tried(place, name, params, arm, *values, means, scores, label is not None))
    return trials


def choose(trials: Sequence[Tried]) -> Tried:
    """Returns the trial to take; of equals the first."""
    if not trials:
        raise Invalid("No trial is finished yet: the same command goes on.")
    floor = max((one.score for one in trials if one.baseline), default=float("-inf"))
    return max((one for one in trials if one.score >= floor), key=lambda one: (one.value, -one.number))


def best_baseline(trials: Sequence[Tried]) -> Tried | None:
    """Returns the baseline with the highest score; None as long as none is finished."""
    return max((one for one in trials if one.baseline), key=lambda one: (one.score, -one.number), default=None)


def shown(trials: Sequence[Tried], best: Tried) -> list[Tried]:
    """Returns the chosen trial and the other baselines, the best of them first."""
    return [best, *sorted((one for one in trials if one.baseline and one is not best), key=lambda one: -one.score)]


def gain(best: Tried, against: Tried) -> list[Comparison]:
    """Compares two trials goal by goal, question by question."""
    return [compare(after, before) for after, before in zip(best.scores, against.scores, strict=True)]


def front(trials: Sequence[Tried]) -> list[Tried]:
    """Returns those that no other beats in one goal without losing in another (Pareto), the first of equals."""

    def beats(other: Tried, one: Tried) -> bool:
        better = other.means != one.means or other.number < one.number
        return better and all(a >= b for a, b in zip(other.means, one.means, strict=True))

    return [one for one in trials if not any(beats(other, one) for other in trials)]
