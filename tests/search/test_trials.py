"""Which trial is taken, and what nobody beats."""

import pytest

from yosegi.engine.arm import Arm
from yosegi.errors import Invalid
from yosegi.search.trials import Tried, choose, front, gain, shown


def one(number, means, value=None, baseline=False):
    score = sum(means) / len(means)
    value = score if value is None else value
    return Tried(number, f"trial {number}", {}, Arm("x"), value, score, tuple(means), (), baseline)


def test_the_best_value_among_those_that_are_not_below_a_baseline():
    every = [
        one(0, [0.5], 0.3, True),
        one(1, [0.2], 0.2, True),
        one(2, [0.4], 0.39),
        one(3, [0.6], 0.35),
        one(4, [0.6], 0.35),
    ]
    assert choose(every).number == 3, "2 is smaller and better for it, but below a baseline; of 3 and 4 the first"
    assert choose(every[:3]).number == 0
    assert [o.number for o in shown(every, every[3])] == [3, 0, 1]
    with pytest.raises(Invalid, match="No trial is finished"):
        choose([])


def test_the_front_is_what_nobody_beats():
    points = [(0.1, 0.9), (0.5, 0.5), (0.4, 0.4), (0.9, 0.1), (0.5, 0.5), (0.9, 0.05), (0.0, 0.9)]
    every = [one(n, means) for n, means in enumerate(points)]
    assert [o.number for o in front(every)] == [0, 1, 3]


def test_a_gain_is_counted_question_by_question():
    before = Tried(0, "b", {}, Arm("b"), 0, 0, (0.5,), ((1.0, 0.0, 0.0, 1.0),), True)
    after = Tried(1, "a", {}, Arm("a"), 0, 0, (0.75,), ((1.0, 1.0, 1.0, 0.0),), False)
    (compared,) = gain(after, before)
    assert (compared.gained, compared.lost, compared.diff) == (2, 1, 0.25)
