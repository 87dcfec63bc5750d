"""What right and wrong answers say by counting: Wilson's interval (1927), McNemar's exact test (1947), Holm's correction (1979).

Pure Python, so that the report, which opens no model, need not wait for numpy.
"""

from collections.abc import Sequence
from math import comb, sqrt

ALPHA = 0.05
"""A p up to this is called a difference; anything else is noise."""
Z95 = 1.959963984540054
"""Two-sided 95 %."""


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


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns p values adjusted for being many (Holm): those below α are, together, wrong with a probability of at most α."""
    adjusted, least = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = least
    return adjusted
