"""Two models on the same questions: the overlap and the test against counting."""

import pytest

from yosegi.evaluation.exact import mcnemar
from yosegi.evaluation.statistics import compare, over_seeds
from yosegi.reporting.answers import Answers
from yosegi.reporting.pairs import pair


def answers(chance=None, reference="base", **scores):
    """`answers(base="1100", x=["10", "01"])`: scores as digits (of one seed, or of several), or lists of numbers."""
    rows = {}
    for model, seeds in scores.items():
        seeds = [seeds] if isinstance(seeds, str) or not isinstance(seeds[0], (str, list)) else seeds
        rows[model] = [{f"q{i}": {"score": float(s)} for i, s in enumerate(seed)} for seed in seeds]
    return Answers("t", dict.fromkeys(scores, reference), chance, rows)


def test_a_pair_is_counted():
    row = pair(answers(a="1110000", b="0111110"), "a", "b")
    assert (row.both, row.only_a, row.only_b, row.n, row.right) == (2, 1, 3, 7, (3, 5))
    assert row.jaccard == pytest.approx(2 / 6) and row.p == mcnemar(3, 1) and row.noise
    both = 3 * 5 / 7
    assert row.by_luck == pytest.approx(both / (8 - both))
    assert (row.higher, row.lower) == (3, 1)


def test_fractions_are_tested_as_the_rows_are():
    a, b = [0.5, 0.2, 1.0, 0.125] * 8, [1.0, 0.25, 0.5, 0.5] * 8
    row = pair(answers(a=a, b=b), "a", "b")
    assert row.p == compare(b, a).p_value and (row.higher, row.lower) == (24, 8)


def test_several_seeds_have_an_interval_and_a_base_of_one_seed_stands_against_each():
    seeds = ["1110110110", "1010110111", "1110111110"]
    one = pair(answers(base="1000010000", x=seeds), "base", "x")
    values = [[float(s) for s in seed] for seed in seeds]
    _, low, high = over_seeds(values, [[float(s) for s in "1000010000"]] * 3)
    assert (one.p, one.low, one.high, one.noise) == (None, low, high, low <= 0 <= high)


def test_only_questions_that_both_were_asked():
    one = answers(a="110", b="101")
    del one.rows["b"][0]["q1"]
    assert pair(one, "a", "b").n == 2
    one.rows["b"][0].clear()
    assert pair(one, "a", "b") is None
