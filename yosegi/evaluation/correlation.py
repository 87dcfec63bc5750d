"""The correlation of two symmetric matrices, such as how alike two experts are and what their tasks gain from each other.

Pairs of the same tasks are not independent: the interval draws tasks again, and p is by permuting tasks (Mantel 1967, Cancer
Research 27:209).
"""

from collections.abc import Callable
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np


class Correlation(NamedTuple):
    """A correlation, its 95 % interval over tasks, and Mantel's two-sided p."""

    value: float
    low: float
    high: float
    p: float


def correlate(x_TT: np.ndarray, y_TT: np.ndarray, by: Callable[..., Any], draws: int = 2000) -> Correlation:
    """Returns the correlation of the entries above the diagonals of two symmetric matrices.

    `by` is such as `scipy.stats.pearsonr`, whose first result counts; `draws` are those of the bootstrap and of the permutations.
    """
    T = len(x_TT)
    upper = np.triu_indices(T, 1)
    value, generator, drawn, beyond = float(by(x_TT[upper], y_TT[upper])[0]), np.random.default_rng(0), [], 0
    for _ in range(draws):
        again = [(i, j) for i, j in combinations(generator.integers(0, T, T), 2) if i != j]
        if len({tuple(sorted(pair)) for pair in again}) > 2:
            i, j = np.array(again).T
            drawn.append(by(x_TT[i, j], y_TT[i, j])[0])
        order = generator.permutation(T)
        beyond += abs(by(x_TT[order][:, order][upper], y_TT[upper])[0]) >= abs(value)
    low, high = np.nanquantile(drawn, [0.025, 0.975]) if drawn else (np.nan, np.nan)
    return Correlation(value, float(low), float(high), (beyond + 1) / (draws + 1))
