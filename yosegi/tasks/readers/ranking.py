"""Ranking candidates by the log-likelihood of the sentence with each of them in it: logp_mrr.

A candidate is put into the gap of a statement, and the whole sentence is scored (never prompt and candidate joined as tokens,
which would not be the tokens of the text). The score of a candidate has three normalisations:

    sum    Σ log p                                    favours candidates of few tokens
    mean   Σ log p / tokens                           favours long candidates whose later tokens are easy to predict
    pmi    Σ log p - Σ log p of the candidate in a neutral sentence: what the statement adds

A question is worth 1 / the gold candidate's rank; tied candidates share the middle of their ranks. A random guess among c
candidates is worth H_c / c (H_c = 1 + 1/2 + … + 1/c): 0.370 for 7, 0.340 for 8.
"""

import math
from collections.abc import Sequence

from yosegi.tasks import LogProb
from yosegi.tasks.readers import spans

WAYS = ("sum", "mean", "pmi")

TIE = 1e-6
"""Scores closer than this, relative to their size, are equal: the last digits depend on the size of the batch."""


def candidates(gold: str, accepted: Sequence[str], choices: Sequence[str]) -> list[str]:
    """Returns the gold answer, then each choice that is neither another spelling of it nor of an earlier choice."""
    seen = {spans.normalise(text) for text in (gold, *accepted)}
    words = [gold]
    for choice in choices:
        if (spelling := spans.normalise(choice)) not in seen:
            seen.add(spelling)
            words.append(choice)
    return words


def chance(c: int) -> float:
    """Returns the mean of 1 / rank over c equally likely ranks."""
    return math.fsum(1 / rank for rank in range(1, c + 1)) / c


def scores(whole: Sequence[LogProb], neutral: Sequence[LogProb], way: str) -> list[float]:
    """Returns a score for each candidate by one of the normalisations. NaN ranks last."""
    values = [one.mean if way == "mean" else one.sum_logprob for one in whole]
    if way == "pmi":
        values = [value - alone.sum_logprob for value, alone in zip(values, neutral, strict=True)]
    return [-math.inf if math.isnan(value) else value for value in values]


def rank(values: Sequence[float], place: int = 0) -> float:
    """Returns the rank of one value, 1 for the highest; equal values share the middle of their ranks."""
    equal = [math.isclose(value, values[place], rel_tol=TIE, abs_tol=TIE) for value in values]
    above = sum(value > values[place] and not same for value, same in zip(values, equal, strict=True))
    return above + (1 + sum(equal)) / 2
