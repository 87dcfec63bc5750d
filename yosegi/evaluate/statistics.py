"""How sure one can be: intervals for one model, paired tests for two models on the same questions.

Bootstrap: Efron 1979. What is counted and not drawn is in `exact.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from yosegi.evaluate.exact import Z95, mcnemar, wilson

BLOCK = 1_000_000
"""Numbers that the bootstrap draws at once: one by one it would take ten times as long."""


def interval(scores: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """A 95 % interval for the mean: Wilson's where every score is 0 or 1, the bootstrap's elsewhere."""
    if all(score in (0, 1) for score in scores):
        return wilson(sum(map(int, scores)), len(scores))
    return bootstrap(scores, seed)


def bootstrap(values: Sequence[float], seed: int = 0, draws: int = 2000) -> tuple[float, float]:
    """A 95 % interval for the mean, by drawing the items again (percentile method)."""
    means = _means(np.asarray(values, float), seed, draws)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


@dataclass(frozen=True)
class Comparison:
    """One model against another on the same items. `gained` and `lost` count the items that became right and wrong."""

    diff: float
    diff_low: float
    diff_high: float
    gained: int
    lost: int
    p_value: float

    @property
    def inside_noise(self) -> bool:
        """Whether a difference of this size is what chance gives more often than once in twenty."""
        return self.p_value > 0.05


def compare(after: Sequence[float], before: Sequence[float], seed: int = 0) -> Comparison:
    """Paired: McNemar's exact test where scores are 0 or 1, else the sign-symmetric share of bootstrap means."""
    a, b = np.asarray(after, float), np.asarray(before, float)
    means = _means(a - b, seed, 2000)
    low, high = np.quantile(means, [0.025, 0.975])
    gained, lost = int((a > b).sum()), int((a < b).sum())
    if bool(np.isin(a, (0, 1)).all() and np.isin(b, (0, 1)).all()):
        p = mcnemar(gained, lost)
    else:
        p = float(min(1.0, 2 * min((means <= 0).mean() + 1 / len(means), (means >= 0).mean() + 1 / len(means))))
    return Comparison(float((a - b).mean()), float(low), float(high), gained, lost, p)


def _means(values: np.ndarray, seed: int, draws: int) -> np.ndarray:
    generator, N = np.random.default_rng(seed), len(values)
    at_once = max(1, BLOCK // max(N, 1))
    parts = [min(at_once, draws - done) for done in range(0, draws, at_once)]
    return np.concatenate([values[generator.integers(0, N, (part, N))].mean(1) for part in parts])


def over_seeds(
    after: Sequence[Sequence[float]],
    before: Sequence[Sequence[float]] | None = None,
    tasks: Sequence[str] | None = None,
) -> tuple[float, float, float]:
    """The mean of scores [seeds][items], or of their paired differences, and its 95 % interval.

    Seeds and items are crossed and both random (two-way analysis of variance, Satterthwaite 1946): an interval that speaks of
    other seeds and other questions. A bootstrap of three seeds is far too narrow: 0.77 instead of 0.95 where seeds differ most.
    A mean of scores from 0 to 1 gets Wilson's interval for as many independent questions as would vary so much (Dean & Pagano
    2015), which stays inside 0 to 1 and says of nothing right in 50 that it could be 7 %.

    Args:
        after: items stand in the same order in every seed.
        before: what to subtract.
        tasks: the task of each item. With it the interval speaks of other tasks, each counted alike, instead of other questions.
    """
    from scipy.stats import t

    values_SN = np.asarray(after, float) - (0.0 if before is None else np.asarray(before, float))
    if tasks is not None and len(set(tasks)) > 1:
        places = [[n for n, task in enumerate(tasks) if task == one] for one in dict.fromkeys(tasks)]
        values_SN = np.stack([values_SN[:, some].mean(1) for some in places], 1)
    (S, N), mean = values_SN.shape, float(values_SN.mean())
    if N < 2:
        return mean, float("-inf"), float("inf")
    seed_S, item_N = values_SN.mean(1), values_SN.mean(0)
    of_items, of_seeds, of_rest = S * item_N.var(ddof=1), 0.0, 0.0
    if S > 1:
        rest_SN = values_SN - seed_S[:, None] - item_N + mean
        of_seeds, of_rest = N * seed_S.var(ddof=1), float(np.square(rest_SN).sum()) / ((S - 1) * (N - 1))
    square = float(max(of_seeds + of_items - of_rest, of_seeds, of_items))
    if square < 1e-24:
        return mean, *_unmoved(mean, N, after, before)
    freedom = square**2 / (of_seeds**2 / max(S - 1, 1) + of_items**2 / (N - 1) + of_rest**2 / (max(S - 1, 1) * (N - 1)))
    wide, variance = float(t.ppf(0.975, freedom)), square / (S * N)
    if before is None and values_SN.min() >= 0 and values_SN.max() <= 1:
        alike = mean * (1 - mean) / variance
        return mean, *wilson(mean * alike, alike, wide)
    half = wide * variance**0.5
    return mean, mean - half, mean + half


def _unmoved(
    mean: float, N: int, after: Sequence[Sequence[float]], before: Sequence[Sequence[float]] | None
) -> tuple[float, float]:
    """Where all is alike: that nobody was right, or changed, was seen on N questions only, whatever the number of seeds."""
    if not all(np.isin(np.asarray(some, float), (0, 1)).all() for some in (after, before) if some is not None):
        return mean, mean
    if before is None:
        return wilson(mean * N, N)
    half = Z95 / (N + 2)  # Agresti and Min 2005: half an observation more of each kind
    return mean - half, mean + half
