"""Correlations of pairs of tasks: Mantel's p is honest where pairs share tasks, and the interval is no narrower than it should."""

import numpy as np
import pytest

from yosegi.evaluation.correlation import correlate


def pearson(x, y):
    return (np.corrcoef(x, y)[0, 1],)


def symmetric(x):
    return np.triu(x, 1) + np.triu(x, 1).T


def test_what_goes_together_is_found():
    rng = np.random.default_rng(0)
    x = symmetric(rng.normal(0, 1, (12, 12)))
    found = correlate(x, 2 * x + symmetric(rng.normal(0, 0.5, (12, 12))), pearson, 300)
    upper = np.triu_indices(12, 1)
    assert found.value == pytest.approx(found.value) and found.low < found.value < found.high and found.p == 1 / 301
    assert found.value == pytest.approx(pearson(x[upper], (2 * x)[upper])[0], abs=0.1)
