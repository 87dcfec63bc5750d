"""Steps are counted by eye here; thresholds are held against trying every cut."""

from itertools import combinations

import pytest

from tests.conftest import each
from yosegi import tasks
from yosegi.errors import Invalid
from yosegi.tasks import Example
from yosegi.teachers import Question, scale
from yosegi.teachers.structure import Structure, count, shares


@each(
    "target, steps",
    [
        ("42", 1),
        ("forty two", 1),
        ("", 1),
        ("2+3=5,5*4=20", 2),
        ("3+4=7", 1),
        (" She sold 48/2 = 24 clips in May.\nAltogether 48+24 = 72.\n#### 72", 2),
        (" Half of it is 10. Then it doubles to 20.\n#### 20", 2),
        (" It costs 3*$5=$15.\nShe gets 20-15 = $ 5 back.\nThat is .5 of 10.\n#### 5", 2),
        (" The change is 5 - 9 = -4 dollars, or −4 = -4.\n#### -4", 2),
        ("48/2=24。48+24=72。答えは72です。", 2),
        ("答えは72です。", 1),
        ("缶が2つあれば、６個あります。５+６=１１。答えは11です。", 1),
        ("まず畑を耕す。次に種をまく。最後に水をやる。", 3),
        ("It rained. The answer is 3.5.", 1),
        ("if x == 3 and y >= 4: pass", 1),
        ("x = y, y = z", 1),
        ("A first step...\n\nA second one!", 2),
    ],
)
def test_count(target, steps):
    assert count(target) == steps


def test_generated_skills_of_one_and_two_steps():
    for name, steps in (("chain", 2), ("chain+wp_en", 2), ("chain+wp_ja", 2), ("wp_ja", 1), ("add", 1), ("reverse", 1)):
        assert {count(example.target) for example in tasks.load(f"skills/{name}").examples("test")} == {steps}, name


@each("k", [2, 3, 4])
def test_thresholds_are_nearest_to_equal_shares(k):
    counts = [1] * 3 + [2] * 10 + [3] * 9 + [4] * 7 + [5] * 3 + [9]

    def error(steps):
        return [abs(sum(n <= most for n in counts) - j * len(counts) / k) for j, most in enumerate(steps, 1)]

    best = min(combinations([1, 2, 3, 4, 5], k - 1), key=lambda steps: sum(error(steps)))
    assert shares(counts, k) == best


@each("counts, k", [([1, 1, 1, 1, 2, 3], 3), ([5, 6, 9, 9, 9, 9, 9], 3), ([1, 2, 3, 4], 4)])
def test_no_system_is_left_empty(counts, k):
    steps = shares(counts, k)
    systems = [sum(n > most for most in steps) for n in counts]
    assert set(systems) == set(range(k)) and list(steps) == sorted(set(steps))


def test_too_few_different_counts_fall_back_on_one_more_step_each():
    assert shares([2, 2, 2], 2) == (1,) and shares([1, 2], 3) == (1, 2) and shares([], 4) == (1, 2, 3)


def test_given_thresholds_do_not_look_at_the_other_rows():
    examples = [Example(str(n), "q", ",".join(["1+1=2"] * n)) for n in (1, 2, 3, 4, 5)]
    question = Question(scale(3))
    teacher = Structure((1, 3))
    assert [vote.system for vote in teacher.label(examples, question)] == [0, 1, 1, 2, 2]
    assert [teacher.label([example], question)[0].system for example in examples] == [0, 1, 1, 2, 2]
    assert "at most 1, 3 steps (as given)" in teacher.note
    assert [vote.rationale[:7] for vote in teacher.label(examples[:2], question)] == ["1 step ", "2 steps"]


@each("steps", [(2, 2), (3, 1), (-1,)])
def test_thresholds_rise(steps):
    with pytest.raises(Invalid, match="thresholds rise"):
        Structure(steps)


def test_as_many_thresholds_as_borders():
    with pytest.raises(Invalid, match="3 systems have 2 thresholds of steps between them; 1 were given"):
        Structure((2,)).label([Example("a", "b", "c")], Question(scale(3)))


@pytest.mark.data
def test_real():
    """The figures of the docstring."""
    examples = tasks.load("gsm8k").examples("train")
    teacher = Structure()
    votes = [vote.system for vote in teacher.label(examples, Question())]
    assert len(votes) == 5300 and round(100 * votes.count(0) / len(votes)) == 56 and "at most 3 steps" in teacher.note
    literal = [vote.system for vote in Structure((1,)).label(examples, Question())]
    assert round(100 * literal.count(0) / len(literal), 1) == 0.3
    japanese = [count(example.target) for example in tasks.load("mgsm_ja").examples("train")]
    assert len(set(japanese)) > 4 and 2 <= sorted(japanese)[len(japanese) // 2] <= 4
