"""Counted by hand, and against SciPy's binomial."""

import subprocess
import sys
from math import comb

import pytest

from yosegi.evaluation.exact import ALPHA, mcnemar, mean_ranks, mid_p, wilson


@pytest.mark.parametrize(("right", "n"), [(0, 30), (2, 100), (15, 30), (30, 30)])
def test_wilson_is_scipys(right, n):
    from scipy.stats import binomtest

    expected = binomtest(right, n).proportion_ci(method="wilson")
    assert wilson(right, n) == pytest.approx((expected.low, expected.high))


def test_two_of_a_hundred_may_be_many_things():
    low, high = wilson(2, 100)
    assert (round(100 * low, 1), round(100 * high, 1)) == (0.6, 7.0)


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (2, 2), (5, 0), (6, 0), (9, 2), (40, 21)])
def test_mcnemar_is_a_binomial_test_of_what_changed(gained, lost):
    from scipy.stats import binomtest

    expected = binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    assert mcnemar(gained, lost) == mcnemar(lost, gained) == pytest.approx(expected)


def test_it_needs_no_numpy():
    code = "import sys; from yosegi.evaluation import exact; assert 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_mid_p_is_less_conservative_than_the_exact_p_and_keeps_its_level():
    """With 20 changed questions, either way equally likely, a test at 5 % should find a difference in 5 % of cases."""
    n = 20
    chance = [comb(n, k) / 2**n for k in range(n + 1)]
    exact, mid = (sum(c for k, c in enumerate(chance) if p(k, n - k) <= ALPHA) for p in (mcnemar, mid_p))
    assert exact == pytest.approx(0.0414, abs=1e-3) and exact <= mid <= 0.05 + 1e-3
    assert mid_p(6, 1) == pytest.approx(mcnemar(6, 1) - 7 / 2**7) and mid_p(3, 3) == 1 == mid_p(0, 0)


def test_ranks_are_averaged_where_scores_cannot_be():
    values = {"a": {"x": 0.5, "loss": 2.0}, "b": {"x": 0.5, "loss": 1.0}, "c": {"x": 0.7, "loss": 3.0}, "d": {"x": 1.0}}
    assert mean_ranks(values, ["loss"]) == {"a": 2.25, "b": 1.75, "c": 2.0}
