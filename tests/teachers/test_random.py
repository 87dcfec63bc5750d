"""By lot: exact sizes, the same lot in any order, another with another seed."""

import pytest

from tests.conftest import each
from yosegi.errors import Invalid
from yosegi.tasks import Example
from yosegi.teachers import Question, scale
from yosegi.teachers.random import Random

ROWS = [Example(str(n), f"question {n}", "a long answer. " * n) for n in range(200)]


def lot(teacher, examples=ROWS, k=2):
    return {e.id: v.system for e, v in zip(examples, teacher.label(examples, Question(scale(k))), strict=True)}


@each("shares, sizes", [((), [100, 100]), ((0.3, 0.7), [60, 140]), ((5, 0), [200, 0])])
def test_sizes_are_exact(shares, sizes):
    result = list(lot(Random(1, shares)).values())
    assert [result.count(0), result.count(1)] == sizes


def test_k_systems():
    result = list(lot(Random(), k=3).values())
    assert sorted(result.count(s) for s in range(3)) == [66, 67, 67]


def test_the_order_of_rows_means_nothing_and_the_seed_does():
    assert lot(Random(3)) == lot(Random(3), ROWS[::-1])
    same = sum(a == b for a, b in zip(lot(Random(3)).values(), lot(Random(4)).values(), strict=True))
    assert 60 < same < 140


def test_it_does_not_look_at_the_answer():
    other = [Example(e.id, e.prompt, "x") for e in ROWS]
    assert lot(Random()) == lot(Random(), other)


@each("shares", [(0, 0), (-1, 2), (float("nan"), 1), (float("inf"), 1)])
def test_wrong_shares(shares):
    with pytest.raises(Invalid, match="shares"):
        Random(0, shares)


def test_as_many_shares_as_systems():
    with pytest.raises(Invalid, match="2 systems have 2 shares; 3 were given"):
        lot(Random(0, (1, 1, 1)))
