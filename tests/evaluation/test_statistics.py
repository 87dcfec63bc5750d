"""Intervals and tests against scipy, and against what they claim: coverage."""

import math

import numpy as np
import pytest

from yosegi.evaluation.exact import holm
from yosegi.evaluation.statistics import (
    compare,
    difference_p,
    equivalence_p,
    interval,
    mcnemar,
    over_seeds,
    over_tasks,
    wilson,
)


@pytest.mark.parametrize(("right", "n"), [(0, 10), (3, 10), (10, 10), (2, 100), (500, 990)])
def test_wilson_is_scipys(right, n):
    from scipy import stats

    expected = stats.binomtest(right, n).proportion_ci(method="wilson")
    assert wilson(right, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_two_of_a_hundred_could_be_seven():
    low, high = wilson(2, 100)
    assert 0.002 < low < 0.006 and 0.069 < high < 0.072


def test_wilson_of_nothing_is_everything():
    assert wilson(0, 0) == (0.0, 1.0)


def test_the_interval_knows_shares_from_scores():
    assert interval([0, 1, 1, 0]) == wilson(2, 4)
    low, high = interval([0.2, 0.9, 1.0])
    assert low < 0.2 and high > 0.9
    assert interval([0.5] * 3) == wilson(1.5, 3), "equal scores are no certainty"
    assert interval([0.5]) == (0, 1) and interval([-2.5]) == (-2.5, -2.5)


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (1, 0), (5, 1), (7, 7), (30, 12)])
def test_mcnemar_is_the_exact_binomial(gained, lost):
    from scipy import stats

    expected = stats.binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    assert mcnemar(gained, lost) == pytest.approx(expected, abs=1e-12)


def test_a_comparison_counts_what_became_right_and_wrong():
    before, after = [1, 1, 0, 0, 0, 1], [1, 0, 1, 1, 0, 1]
    found = compare(after, before)
    assert (found.gained, found.lost) == (2, 1) and found.diff == pytest.approx(1 / 6)
    assert found.p_value == mcnemar(2, 1) == 1.0 and found.inside_noise


def test_a_large_gain_is_no_noise_and_no_gain_is():
    rng = np.random.default_rng(0)
    base = rng.random(80)
    assert not compare((base + 0.3 + 0.05 * rng.random(80)).tolist(), base.tolist()).inside_noise
    assert compare(base.tolist(), base.tolist()).p_value == 1.0
    found = compare([1] * 40, [0] * 40)
    assert found.diff == 1 and not found.inside_noise and found.p_value < 1e-9


def test_one_question_tells_nothing_and_breaks_nothing():
    found = compare([1.0], [0.0])
    assert found.detectable is None and found.inside_noise and math.isfinite(found.diff_low + found.diff_high)


def test_three_questions_tell_nothing_apart():
    for after, before in (([0.9, 0.8, 0.7], [0.1, 0.2, 0.1]), ([0.5] * 3, [0.2] * 3), ([0.4], [0.3])):
        found = compare(after, before)
        assert found.inside_noise and found.diff_low <= 0 <= found.diff_high
    assert compare([0.9, 0.8, 0.7], [0.1, 0.2, 0.1]).p_value == 0.25


def test_the_sign_test_is_scipys():
    from scipy import stats

    rng = np.random.default_rng(7)
    a, b = rng.random((2, 9))
    expected = stats.permutation_test((a - b,), np.mean, permutation_type="samples").pvalue
    assert compare(a.tolist(), b.tolist()).p_value == pytest.approx(expected)


def test_over_seeds_is_wider_when_seeds_disagree():
    rng = np.random.default_rng(1)
    items = rng.normal(0, 1, 200)
    calm = [items + rng.normal(0, 0.01) for _ in range(3)]
    wild = [items + shift for shift in (-1.0, 0.0, 1.0)]
    mean, low, high = over_seeds(calm)
    assert low < mean < high and mean == pytest.approx(np.mean(calm))
    assert high - low == pytest.approx(2 * 1.96 * items.std() / 200**0.5, rel=0.15)
    assert np.subtract(*over_seeds(wild)[1:]) < 3 * np.subtract(*over_seeds(calm)[1:])


def test_over_seeds_may_speak_of_tasks():
    rng = np.random.default_rng(4)
    tasks = [f"t{k}" for k in range(6) for _ in range(30)]
    values = np.repeat(rng.normal(0, 1, 6), 30)[None] + rng.normal(0, 0.1, (3, 180))
    of_items, of_tasks = over_seeds(values), over_seeds(values, tasks=tasks)
    assert of_items[0] == pytest.approx(of_tasks[0])
    assert np.subtract(*of_tasks[1:]) < 3 * np.subtract(*of_items[1:]), "six tasks are fewer than 180 questions"


def test_over_seeds_pairs_items():
    before = np.random.default_rng(2).normal(0, 5, (3, 50))
    mean, low, high = over_seeds(before + 0.5, before)
    assert mean == pytest.approx(0.5) and 0.4 < low < 0.5 < high < 0.6


def test_over_seeds_stays_between_nothing_and_all():
    one = [[0.0] * 49 + [1.0]] * 3
    mean, low, high = over_seeds(one)
    assert mean == pytest.approx(0.02) and (low, high) == pytest.approx(wilson(1, 50), abs=0.006)
    assert over_seeds([[0.0] * 50] * 3) == pytest.approx((0, 0, wilson(0, 50)[1])), (
        "nobody right: not known for certain"
    )
    assert over_seeds([[1.0] * 50])[1:] == (pytest.approx(wilson(50, 50)[0]), 1.0)


def test_over_seeds_does_not_swear_that_nothing_changed():
    same = [[1.0, 0.0] * 25] * 3
    mean, low, high = over_seeds(same, same)
    assert mean == 0 and high == -low == pytest.approx(wilson(0, 50)[1])


def test_wilson_with_another_width():
    from scipy import stats

    expected = stats.binomtest(3, 10).proportion_ci(confidence_level=0.99, method="wilson")
    assert wilson(3, 10, float(stats.norm.ppf(0.995))) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_p_values_are_the_intervals_the_other_way_round():
    from scipy import stats

    rng = np.random.default_rng(8)
    before = rng.normal(0, 1, (3, 40))
    after = before + rng.normal(0.15, 0.5, (3, 40))
    p = difference_p(after, before)
    assert 1e-6 < p < 0.5
    for confidence, outside in ((1 - 1.001 * p, True), (1 - 0.999 * p, False)):
        _, low, high = over_seeds(after, before, confidence=confidence)
        assert (low > 0 or high < 0) == outside
    one = after[:1] - before[:1]
    assert difference_p(after[:1], before[:1]) == pytest.approx(stats.ttest_1samp(one[0], 0).pvalue, rel=1e-6)


def test_few_questions_have_no_small_p():
    for n, least in ((2, 0.05), (3, 0.05), (20, 0.0)):
        p = difference_p([[x + 0.5 for x in range(n)]] * 3, [[float(x) for x in range(n)]] * 3)
        assert p > least
    assert p < 1e-9, "twenty alike are enough"
    assert difference_p([[0.3]] * 3, [[0.1]] * 3) == 1, "one question is none"


def test_equality_needs_evidence():
    from scipy import stats

    rng = np.random.default_rng(9)
    before = rng.normal(0, 1, (3, 400))
    after = before + rng.normal(0, 0.2, (3, 400))
    assert equivalence_p(after, before, 0.1) < 0.01 < 0.05 < equivalence_p(after[:, :6], before[:, :6], 0.1)
    assert equivalence_p(before + 0.3, before, 0.1) == 1, "a clear difference is no equality"
    same = [[0.0, 1.0] * 25] * 3
    assert equivalence_p(same, same, 0.2) < 0.01 and equivalence_p(same, same, 0.02) > 0.05, "by as many as were asked"
    d = after[:1] - before[:1]
    one_sided = max(stats.ttest_1samp(d[0], m, alternative=a).pvalue for m, a in ((-0.03, "greater"), (0.03, "less")))
    assert equivalence_p(after[:1], before[:1], 0.03) == pytest.approx(one_sided, rel=1e-5)


def test_holm():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])  # worked by hand
    assert holm([]) == [] and holm([0.6, 0.7]) == [1.0, 1.0]


def test_where_nothing_differs_within_a_task_there_still_is_an_interval():
    mean, low, high = over_tasks([[0.0] * 30, [0.0] * 30])
    assert mean == 0 and -0.06 < low < 0 < high < 0.06
