"""What right and wrong answers alone say, by counting: Wilson's interval (Wilson 1927), McNemar's exact test (McNemar 1947).

Pure Python, so that the report, which opens no model, need not wait for numpy.
"""

from math import comb, sqrt

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
