"""How sure one can be: intervals for one model, paired tests for two models on the same questions, and many tests at once.

Few questions say little: three of them, whatever their scores, cannot tell two models apart (p is 1/4 at least), and a
bootstrap of three would swear that they can. What is counted, and the correction for many tests, is in `exact.py`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np

from yosegi.evaluation.exact import ALPHA, POWER, mcnemar, mid_p, wilson

ENUMERATED = 12
"""Differences whose signs are all tried out; of more than that the t test says the same."""


def interval(scores: Sequence[float]) -> tuple[float, float]:
    """Returns a 95 % interval for the mean: Wilson's where every score is 0 or 1, that of `over_seeds` elsewhere."""
    if all(score in (0, 1) for score in scores):
        return wilson(sum(map(int, scores)), len(scores))
    if len(scores) < 2:
        return (0.0, 1.0) if 0 <= scores[0] <= 1 else (scores[0], scores[0])
    return over_seeds([scores])[1:]


@dataclass(frozen=True)
class Comparison:
    """One model against another on the same items.

    Args:
        diff: the mean difference; `diff_low` and `diff_high` are its 95 % interval.
        gained: how many items became right, or better; `lost` counts the others that changed.
        p_value: two-sided; it decides.
        mid_p: of answers that are right or wrong: the less conservative p, which tells more where few changed.
        detectable: the least difference that so many items, as uneven as these, find in 80 % of cases; None of a single item.
    """

    diff: float
    diff_low: float
    diff_high: float
    gained: int
    lost: int
    p_value: float
    mid_p: float | None
    detectable: float | None

    @property
    def inside_noise(self) -> bool:
        """Returns whether a difference of this size is what chance gives more often than once in twenty."""
        return self.p_value > ALPHA


def compare(after: Sequence[float], before: Sequence[float]) -> Comparison:
    """Paired: McNemar's exact test where scores are 0 or 1; else Fisher's sign test of all differences (1935), or the t test.

    The interval is that of `over_seeds`, Student's where there is one training.
    """
    a, b = np.asarray(after, float), np.asarray(before, float)
    d_N, gained, lost = a - b, int((a > b).sum()), int((a < b).sum())
    bounded = min(a.min(), b.min()) >= 0 and max(a.max(), b.max()) <= 1
    diff, low, high = over_seeds([after], [before])
    detectable = POWER * (high - low) / 2 if len(d_N) > 1 else None
    if bounded or len(d_N) < 2:
        low, high = max(low, -1.0 if bounded else diff), min(high, 1.0 if bounded else diff)
    counted = bool(np.isin(a, (0, 1)).all() and np.isin(b, (0, 1)).all())
    p = mcnemar(gained, lost) if counted else _by_signs(d_N)
    if p > ALPHA:  # Student trusts three differences that happen to be alike; their signs do not
        low, high = min(low, 0.0), max(high, 0.0)
    return Comparison(diff, low, high, gained, lost, p, mid_p(gained, lost) if counted else None, detectable)


def _by_signs(d_N: np.ndarray) -> float:
    """Returns a two-sided p: were each difference as likely the other way round, how often would their sum be as far from 0?"""
    moved = d_N[d_N != 0]
    if not len(moved):
        return 1.0
    if len(moved) <= ENUMERATED:
        signs = np.array(list(product((-1.0, 1.0), repeat=len(moved))))
        return float((np.abs(signs @ moved) >= abs(moved.sum()) - 1e-12).mean())
    from scipy.stats import t

    spread = float(d_N.std(ddof=1)) / len(d_N) ** 0.5
    return float(2 * t.sf(abs(float(d_N.mean())) / spread, len(d_N) - 1)) if spread > 1e-12 else 2.0 ** (1 - len(d_N))


def over_seeds(
    after: Sequence[Sequence[float]],
    before: Sequence[Sequence[float]] | None = None,
    tasks: Sequence[str] | None = None,
    confidence: float = 1 - ALPHA,
) -> tuple[float, float, float]:
    """Returns the mean of scores [seeds][items], or of their paired differences, and its interval.

    Seeds and items are crossed and both random, so the interval speaks of other seeds and other questions. What seeds add to the
    variance and what items add each have Student's quantile of their own (Howe 1974); the interval is never narrower than that
    of the items alone. One quantile for their sum, by Satterthwaite's degrees of freedom, is wrong in 8 of 100 cases where three
    seeds differ most, and a bootstrap in 23.
    A mean of scores from 0 to 1 gets Wilson's interval for as many independent questions as would vary so much (Dean & Pagano
    2015), which stays inside 0 to 1 and says of nothing right in 50 that it could be 7 %.

    Args:
        after: items stand in the same order in every seed.
        before: what to subtract.
        tasks: the task of each item. With it the interval speaks of other tasks, each counted alike, instead of other questions.
        confidence: 0.95 by default.
    """
    upper, crossed = (1 + confidence) / 2, _crossed(after, before, tasks)
    mean, variance = crossed.mean, crossed.variance
    low, high = crossed.limits(upper)
    if before is None and 0 < variance < float("inf") and crossed.bounded:
        independent = mean * (1 - mean) / variance
        return mean, *wilson(mean * independent, independent, (high - mean) / variance**0.5)
    return mean, low, high


class _Crossed(NamedTuple):
    """A mean over seeds and items, and what each adds to its variance.

    Args:
        mean: of all values.
        seeds: the variance that seeds add, what neither explains included, and its degrees of freedom; 0 of one seed.
        others: the variance that items add.
        alone: that of the items, what neither explains included, as if seeds were alike.
        items: how many there are.
        bounded: whether all values lie from 0 to 1.
        after: the scores.
        before: what was subtracted.
    """

    mean: float
    seeds: tuple[float, int]
    others: float
    alone: float
    items: int
    bounded: bool
    after: Sequence[Sequence[float]]
    before: Sequence[Sequence[float]] | None

    @property
    def variance(self) -> float:
        """Returns that of the mean."""
        return max(self.seeds[0] + self.others, self.alone)

    def limits(self, upper: float) -> tuple[float, float]:
        """Returns the interval that ends at this quantile."""
        from scipy.special import stdtrit

        if self.variance < 1e-24:
            return _unmoved(self.mean, self.items, self.after, self.before, upper)
        if self.items < 2:
            return float("-inf"), float("inf")
        of_seeds, of_items = (float(stdtrit(freedom, upper)) for freedom in (self.seeds[1], self.items - 1))
        half = max(of_seeds**2 * self.seeds[0] + of_items**2 * self.others, of_items**2 * self.alone) ** 0.5
        return self.mean - half, self.mean + half


def _crossed(
    after: Sequence[Sequence[float]], before: Sequence[Sequence[float]] | None, tasks: Sequence[str] | None
) -> _Crossed:
    """Returns the analysis of variance of scores, or of differences, of seeds and items or tasks."""
    values_SN = np.asarray(after, float) - (0.0 if before is None else np.asarray(before, float))
    if tasks is not None and len(set(tasks)) > 1:
        places = [[n for n, task in enumerate(tasks) if task == one] for one in dict.fromkeys(tasks)]
        values_SN = np.stack([values_SN[:, place].mean(1) for place in places], 1)
    (S, N), mean = values_SN.shape, float(values_SN.mean())
    bounded = bool(values_SN.min() >= 0 and values_SN.max() <= 1)
    seeds, others, alone = (0.0, 1), 0.0, float("inf")  # a single item does not vary
    if N > 1:
        seed_S, item_N, of_rest = values_SN.mean(1), values_SN.mean(0), 0.0
        alone = float(item_N.var(ddof=1)) / N
        if S > 1:
            rest_SN = values_SN - seed_S[:, None] - item_N + mean
            of_rest = float(np.square(rest_SN).sum()) / ((S - 1) * (N - 1)) / (S * N)
            seeds = (float(seed_S.var(ddof=1)) / S, S - 1)
        others = max(0.0, alone - of_rest)
    return _Crossed(mean, seeds, others, alone, N, bounded, after, before)


def over_tasks(differences: Sequence[Sequence[float]]) -> tuple[float, float, float]:
    """Returns the mean over tasks of mean differences, and a 95 % interval that speaks of other questions of the same tasks.

    Every task counts alike, however many questions it has (stratified means; degrees of freedom by Satterthwaite 1946).

    Args:
        differences: for each task, the paired differences of its questions.
    """
    from scipy.stats import t

    d_KN, K = [np.asarray(one, float) for one in differences], len(differences)
    mean = float(np.mean([d_N.mean() for d_N in d_KN]))
    if any(len(d_N) < 2 for d_N in d_KN):
        return mean, float("-inf"), float("inf")
    square_K = np.array([d_N.var(ddof=1) / len(d_N) for d_N in d_KN])
    if not square_K.any():  # no question differs from the others of its task: as if one more had come out the other way
        square_K = np.array([(1 / len(d_N)) ** 2 for d_N in d_KN])
    freedom = square_K.sum() ** 2 / sum(v**2 / (len(d_N) - 1) for v, d_N in zip(square_K, d_KN, strict=True))
    half = float(t.ppf(1 - ALPHA / 2, freedom)) * float(square_K.sum()) ** 0.5 / K
    return mean, mean - half, mean + half


def jackknife(value: float, without: Sequence[float]) -> tuple[float, float]:
    """Returns a 95 % interval for a measure that is no mean, from the same measure without each of some equal parts (Tukey 1958).

    Student's with one degree of freedom less than there are parts; of a single part there is nothing to say.
    """
    from scipy.stats import t

    if (parts := len(without)) < 2:
        return float("-inf"), float("inf")
    spread = ((parts - 1) / parts * sum((one - value) ** 2 for one in without)) ** 0.5
    half = float(t.ppf(1 - ALPHA / 2, parts - 1)) * spread
    return value - half, value + half


def _unmoved(
    mean: float, N: int, after: Sequence[Sequence[float]], before: Sequence[Sequence[float]] | None, upper: float
) -> tuple[float, float]:
    """Where all is alike: that nobody was right, or changed, was seen on N questions only, whatever the number of seeds."""
    from scipy.stats import norm, t

    if before is None:
        return wilson(mean * N, N, float(norm.ppf(upper))) if 0 <= mean <= 1 else (mean, mean)
    if not all(np.isin(np.asarray(scores, float), (0, 1)).all() for scores in (after, before)):
        half = abs(mean) * (1 + float(t.ppf(upper, N))) / (N + 1)  # as if nothing had changed on one question more
    else:
        half = wilson(0, N, float(norm.ppf(upper)))[1]
    return mean - half, mean + half


def difference_p(
    after: Sequence[Sequence[float]], before: Sequence[Sequence[float]], tasks: Sequence[str] | None = None
) -> float:
    """Returns the two-sided p that nothing differs: 1 less the confidence of the widest interval of `over_seeds` without 0."""

    crossed = _crossed(after, before, tasks)

    def leaves_out_zero(alpha: float) -> bool:
        low, high = crossed.limits(1 - alpha / 2)
        return low > 0 or high < 0

    return _smallest(leaves_out_zero)


def equivalence_p(
    after: Sequence[Sequence[float]],
    before: Sequence[Sequence[float]],
    margin: float,
    tasks: Sequence[str] | None = None,
) -> float:
    """Returns p that the difference is the margin or more by two one-sided tests (TOST, Schuirmann 1987, 10.1007/BF01068419).

    A difference that was not found is no equality; this asks for evidence that it is small. At level α the interval of
    confidence 1 - 2α has to lie between -margin and margin.
    """

    crossed = _crossed(after, before, tasks)

    def lies_within(alpha: float) -> bool:
        low, high = crossed.limits(1 - alpha)
        return -margin < low and high < margin

    return _smallest(lies_within, 0.5)


def _smallest(rejects: Callable[[float], bool], most: float = 1.0) -> float:
    """Returns the least level at which a test rejects, by bisection; 1 if it does at none."""
    low, high = 0.0, most - 1e-9
    if not rejects(high):
        return 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if rejects(middle) else (middle, high)
    return high
