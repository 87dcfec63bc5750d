"""What right and wrong answers say by counting: Wilson's interval (1927), McNemar's tests (1947), Holm's correction (1979).

Pure Python, so that the report, which opens no model, need not wait for numpy.
"""

from collections.abc import Collection, Mapping, Sequence
from math import comb, sqrt

ALPHA = 0.05
"""A p up to this is called a difference; anything else is noise."""
Z95 = 1.959963984540054
"""Two-sided 95 %."""
POWER = 1.4294
"""How many half widths of a 95 % interval a difference needs to be found in 80 % of cases: (1.960 + 0.842) / 1.960."""
FEW_CHANGED = 50
"""With fewer changed questions the exact test of McNemar is conservative: it finds less than its 5 %."""


def wilson(right: float, n: float, z: float = Z95) -> tuple[float, float]:
    """Returns a 95 % interval for the share `right` of n; honest at 0 and at n, where ± a standard error is not.

    Where answers hang together, n is of how many independent ones. z is how many standard errors are allowed for.
    """
    if n == 0:
        return 0.0, 1.0
    share, z2 = right / n, z**2
    middle, half = share + z2 / (2 * n), z * sqrt(max(0.0, share * (1 - share)) / n + z2 / (4 * n * n))
    return max(0.0, (middle - half) / (1 + z2 / n)), min(1.0, (middle + half) / (1 + z2 / n))


def mcnemar(gained: int, lost: int) -> float:
    """Returns the two-sided exact p: were gains and losses equally likely, how often would they be this uneven?"""
    n, fewer = gained + lost, min(gained, lost)
    return min(1.0, 2 * sum(comb(n, k) for k in range(fewer + 1)) / 2**n)


def mid_p(gained: int, lost: int) -> float:
    """Returns the two-sided mid-p of the same test: what was seen counts half.

    Where few answers changed, the exact test rejects far less often than its level says; the mid-p comes close to it without
    exceeding it by more than a trace (Fagerland, Lydersen and Laake 2013, 10.1186/1471-2288-13-91).
    """
    n, fewer = gained + lost, min(gained, lost)
    seen = comb(n, fewer) / 2**n
    return 1.0 if gained == lost else min(1.0, mcnemar(gained, lost) - seen)


def mean_ranks(values: Mapping[str, Mapping[str, float]], low_is_good: Collection[str] = ()) -> dict[str, float]:
    """Returns the mean over tasks of the rank of each model that has all tasks: 1 is the best, equals share a rank.

    A mean of accuracies and perplexities means nothing; ranks may be averaged whatever the metrics are.

    Args:
        values: by model and task.
        low_is_good: tasks on which less is better.
    """
    tasks = list(dict.fromkeys(task for by_task in values.values() for task in by_task))
    whole = {model: by_task for model, by_task in values.items() if all(task in by_task for task in tasks)}
    ranks = {model: 0.0 for model in whole}
    for task in tasks:
        signed = {model: by_task[task] * (1 if task in low_is_good else -1) for model, by_task in whole.items()}
        for model, value in signed.items():
            better, alike = sum(v < value for v in signed.values()), sum(v == value for v in signed.values())
            ranks[model] += (better + (alike + 1) / 2) / len(tasks)
    return ranks


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns p values adjusted for being many (Holm): those below α are, together, wrong with a probability of at most α."""
    adjusted, least = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = least
    return adjusted
