"""Ranking candidates by how likely a model finds the sentence with each of them in it: logp_mrr.

A candidate is put into the gap of a statement, and the whole sentence is weighed (never prompt and candidate glued together:
tokens at the seam would not be those of the text). Its score is, by normalisation,

    sum    Σ log p                                    favours candidates of few tokens
    mean   Σ log p / tokens                           favours long ones that are easy to go on with
    pmi    Σ log p - Σ log p of the candidate in a sentence that says nothing: what the statement adds

The question is worth 1 / the gold candidate's rank. Ties: the middle of the ranks they take together. Whoever guesses gets
H_c / c of c candidates (H_c = 1 + 1/2 + … + 1/c): 0.370 of 7, 0.340 of 8.
"""

import math
from collections.abc import Sequence

from yosegi.tasks import LogProb
from yosegi.tasks.readers import spans

WAYS = ("sum", "mean", "pmi")

TIE = 1e-6
"""Scores closer than this, relative to their size, are equal: a batch of another size computes others in the last digits."""


def candidates(gold: str, accepted: Sequence[str], choices: Sequence[str]) -> list[str]:
    """The gold answer, then every other choice once: neither its own spellings nor a choice that came before (`normalise`)."""
    seen = {spans.normalise(text) for text in (gold, *accepted)}
    found = [gold]
    for choice in choices:
        if (same := spans.normalise(choice)) not in seen:
            seen.add(same)
            found.append(choice)
    return found


def chance(c: int) -> float:
    """The mean of 1 / rank over c equally likely ranks."""
    return math.fsum(1 / rank for rank in range(1, c + 1)) / c


def scores(whole: Sequence[LogProb], neutral: Sequence[LogProb], way: str) -> list[float]:
    """One score a candidate. What is not a number ranks last."""
    match way:
        case "sum":
            found = [one.sum_logprob for one in whole]
        case "mean":
            found = [one.sum_logprob / max(one.tokens, 1) for one in whole]
        case _:
            found = [one.sum_logprob - alone.sum_logprob for one, alone in zip(whole, neutral, strict=True)]
    return [-math.inf if math.isnan(score) else score for score in found]


def rank(values: Sequence[float], place: int = 0) -> float:
    """The rank of one value, 1 for the highest; equal ones share the middle of their ranks."""
    own = values[place]
    equal = [math.isclose(value, own, rel_tol=TIE, abs_tol=TIE) for value in values]
    above = sum(value > own and not same for value, same in zip(values, equal, strict=True))
    return above + (1 + sum(equal)) / 2
