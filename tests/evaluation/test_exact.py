"""Counted by hand, and against SciPy's binomial."""

import subprocess
import sys

import pytest

from yosegi.evaluation.exact import mcnemar, wilson


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
