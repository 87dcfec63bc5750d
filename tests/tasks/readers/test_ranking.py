"""Rank, chance and the three normalisations, against what can be counted by hand."""

import itertools
import math

import pytest

from tests.conftest import each
from yosegi.tasks import LogProb
from yosegi.tasks.readers.ranking import candidates, chance, rank, scores


@each("c, printed", [(1, "1.000"), (2, "0.750"), (7, "0.370"), (8, "0.340")])
def test_chance_is_the_mean_over_every_order(c, printed):
    worth = [1 / rank(order) for order in itertools.permutations(range(min(c, 6)))]
    assert sum(worth) / len(worth) == pytest.approx(chance(min(c, 6)))
    assert f"{chance(c):.3f}" == printed
    assert chance(c) == pytest.approx(sum(1 / r for r in range(1, c + 1)) / c)


@each(
    "values, expected",
    [
        ([3.0, 2.0, 1.0], 1.0),
        ([1.0, 2.0, 3.0], 3.0),
        ([2.0, 2.0, 1.0], 1.5),
        ([2.0, 3.0, 2.0, 2.0], 3.0),  # ranks 2, 3 and 4: the middle one
        ([2.0, 2.0, 2.0], 2.0),
        ([-300.0, -300.0 - 1e-5], 1.5),  # equal but for the last digits
        ([-300.0, -300.1], 1.0),
        ([-math.inf, -5.0, -math.inf], 2.5),
    ],
)
def test_ties_take_the_middle_of_their_ranks(values, expected):
    assert rank(values) == expected


def test_all_ranks_of_a_question_add_up():
    values = [0.5, 0.2, 0.5, 0.9, 0.2, 0.2]
    assert sum(rank(values, place) for place in range(6)) == 21


def test_each_way_prefers_another():
    whole = [LogProb(-12.0, 12), LogProb(-8.0, 4), LogProb(-10.0, 8)]
    neutral = [LogProb(-9.0, 9), LogProb(-1.0, 1), LogProb(-3.5, 3)]
    best = {way: max(range(3), key=scores(whole, neutral, way).__getitem__) for way in ("sum", "mean", "pmi")}
    assert best == {"sum": 1, "mean": 0, "pmi": 0}
    assert scores(whole, neutral, "pmi") == [-3.0, -7.0, -6.5]


def test_what_is_not_a_number_ranks_last():
    assert rank(scores([LogProb(math.nan, 3), LogProb(-900.0, 3)], [], "sum")) == 2.0


def test_candidates_once_and_no_other_spelling_of_the_right_one():
    choices = ["索道", "踏切", "Ｐ線", "P線。", "踏み切り", "索道", "踏切"]
    assert candidates("踏切", ("踏切", "踏み切り"), choices) == ["踏切", "索道", "Ｐ線"]
