"""CMA-ES as a sampler of Optuna that keeps nothing but the trials themselves.

Hansen and Ostermeier 2001; the code is that of `cmaes`. Optuna's own sampler keeps its state as a pickle in the study's
database, and a file of a run is never to be executed here. So the state is made again for every trial, by telling a new
optimiser what is known, generation by generation, in the order of the trials: milliseconds for hundreds of trials.
With several workers a trial may be asked for before its generation is full; it is then drawn from the one before.

σ is 1/6 of a weight at the start, as in mergekit-evolve. Shapes: D parameters, from 0 to 1 each.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial, TrialState

if TYPE_CHECKING:
    from cmaes import CMA

SIGMA = 1 / 6
Number = FloatDistribution | IntDistribution


class Evolution(BaseSampler):
    """Args:
    varied: the ranges, by name.
    start: where the search begins, by name.
    seed: of the random numbers; a trial's are its own, by how many are finished.
    sigma: of a weight, at the start.
    population: trials of one generation; by default 4 + 3 ln D.
    """

    def __init__(
        self,
        varied: Mapping[str, Number],
        start: Mapping[str, float],
        seed: int = 0,
        sigma: float = SIGMA,
        population: int | None = None,
    ):
        self.varied, self.seed, self.population = dict(varied), seed, population
        self.start_D = self._point(start)
        weights = [r.high - r.low for name, r in varied.items() if name.startswith("w ")]
        self.sigma = sigma / max(weights) if weights else sigma
        self._other = RandomSampler(seed)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """All of it, from the first trial on."""
        return {**self.varied}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The next point."""
        optimiser = self.replay(study)
        done = len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)))
        optimiser.reseed_rng((self.seed * 1_000_003 + done) % 2**32)
        x_D = optimiser.ask()
        return {name: _from_unit(r, float(x)) for (name, r), x in zip(self.varied.items(), x_D, strict=True)}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A parameter that nobody announced; there should be none."""
        return self._other.sample_independent(study, trial, param_name, param_distribution)

    def replay(self, study: Study) -> "CMA":
        """The optimiser, as it stands after all full generations."""
        from cmaes import CMA

        bounds_D2 = np.tile([0.0, 1.0], (len(self.varied), 1))
        optimiser = CMA(self.start_D.copy(), self.sigma, bounds_D2, seed=self.seed, population_size=self.population)
        trials = [(t, value) for t in study.get_trials(deepcopy=False) if (value := _value(t)) is not None]
        known = [(self._point(trial.params), -value) for trial, value in trials]
        n = optimiser.population_size
        for first in range(0, len(known) - n + 1, n):
            optimiser.tell(known[first : first + n])
        return optimiser

    def _point(self, params: Mapping[str, Any]) -> np.ndarray:
        return np.array([_to_unit(r, params[name]) for name, r in self.varied.items()])


def _value(trial: FrozenTrial) -> float | None:
    """The value of a trial; of one that was broken off, the last that is known. None for a baseline, or if nothing is known."""
    if "baseline" in trial.user_attrs:
        return None
    if trial.state == TrialState.PRUNED and trial.last_step is not None:
        value = trial.intermediate_values[trial.last_step]
        return value if math.isfinite(value) else None
    return trial.value if trial.state == TrialState.COMPLETE else None


def _to_unit(r: Number, value: float) -> float:
    scale = math.log if r.log else float
    return (scale(value) - scale(r.low)) / (scale(r.high) - scale(r.low))


def _from_unit(r: Number, x: float) -> float | int:
    value = r.low * (r.high / r.low) ** x if r.log else r.low + x * (r.high - r.low)
    value = min(max(value, r.low), r.high)
    return round(value) if isinstance(r, IntDistribution) else value
