"""What a trial is drawn from, so that a search that was killed ends as one that was not, and many workers as they did before.

Trial k has random numbers of its own, and looks at the trials 0 … k - W: W is the number of workers that the search began with,
and what is known of later ones does not count, even if they are finished. So its parameters, and whether it is broken off, do
not depend on who was faster. The trials of before are copied, in their order, into a study in memory, which the sampler sees.
"""

from collections.abc import Callable, Mapping
from typing import Any

import optuna
from optuna.pruners import MedianPruner
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

DONE = (TrialState.COMPLETE, TrialState.PRUNED)


class Draws:
    """Args:
    sampler: makes the sampler of one trial, from a seed.
    directions: one for each objective.
    seed: of the search.
    lag: how many trials before it one does not look at, itself included.
    warm: finished trials before any is broken off.
    """

    def __init__(
        self,
        sampler: Callable[[int], BaseSampler],
        directions: list[StudyDirection],
        seed: int,
        lag: int,
        warm: int,
    ):
        self.lag, self._sampler, self._directions, self._seed = lag, sampler, directions, seed
        self._pruner = MedianPruner(n_startup_trials=warm)
        self._begin()

    def waits_for(self, place: int, trials: Mapping[int, FrozenTrial]) -> list[int]:
        """Returns the trials that this one looks at and that are not finished."""
        before = range(place - self.lag + 1)
        return [n for n in before if n not in trials or trials[n].state not in DONE]

    def draw(self, place: int, trials: Mapping[int, FrozenTrial], ask: Callable[[optuna.Trial], Any]) -> Any:
        """Returns what `ask` takes of trial `place`.

        Args:
            place: which trial of the search it is.
            trials: the trials by their places.
            ask: suggests the parameters.
        """
        self._look(place, trials)
        self._study.sampler = self._sampler((self._seed * 1_000_003 + place) % 2**32)
        drawn = ask(trial := self._study.ask())
        self._study.tell(trial, state=TrialState.FAIL)  # it is told in the file of the search
        return drawn

    def is_hopeless(self, values: Mapping[int, float]) -> bool:
        """Returns whether the trial that was drawn last is broken off, after these values by step."""
        return self._pruner.prune(self._study, create_trial(state=TrialState.RUNNING, intermediate_values=dict(values)))

    def _begin(self) -> None:
        self._study, self._known = optuna.create_study(directions=self._directions), 0

    def _look(self, place: int, trials: Mapping[int, FrozenTrial]) -> None:
        """Copies what trial `place` looks at, and has not been copied, into the study in memory."""
        if self._known > max(0, place - self.lag + 1):
            self._begin()
        for n in range(self._known, place - self.lag + 1):
            trial, label = trials[n], trials[n].user_attrs.get("baseline")
            copy = create_trial(
                state=trial.state, params=trial.params, distributions=trial.distributions,
                values=trial.values if trial.state == TrialState.COMPLETE else None,
                intermediate_values=trial.intermediate_values, user_attrs={"baseline": label} if label else {},
            )  # fmt: skip
            self._study.add_trial(copy)
            self._known = n + 1
