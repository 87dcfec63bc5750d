"""Verdicts: right where something is the matter, silent where nothing is, and none from too few seeds."""

import numpy as np
import pytest

from yosegi.study.claims import BETTER, FEW, HOLDS, NOISE, REVERSE, UNSHOWN, WORSE, Claim, claims_finding, judge
from yosegi.study.measures import LOGP, Measure


def measure(shifts, seeds=3, n=80, metric=LOGP, spread=0.2, seed=0, over_tasks=False):
    """Arms that differ from one another by so much, on questions that differ far more."""
    rng = np.random.default_rng(seed)
    hard = rng.normal(-3, 1, n)
    scores = {
        arm: {s: (hard + shift + rng.normal(0, spread, n)).tolist() for s in range(seeds)}
        for arm, shift in shifts.items()
    }
    return Measure("new", metric, scores, [f"t{i % 4}" for i in range(n)], over_tasks)


def verdicts(claims, measures):
    return [one.verdict for one in judge(claims, measures)]


@pytest.mark.parametrize(
    ("shift", "paper", "verdict"),
    [
        (0.5, "> 0", HOLDS),
        (-0.5, "+1.2", REVERSE),
        (0.0, "> 0", NOISE),
        (0.0, "≈ 0", HOLDS),
        (0.5, "≈ 0", BETTER),
        (-0.5, "≈ 0", WORSE),
        (0.1, "≈ 0 (ours)", BETTER),
    ],
)
def test_a_claim_gets_the_verdict_it_deserves(shift, paper, verdict):
    assert verdicts([Claim("new", "a", "b", paper)], [measure({"a": shift, "b": 0.0})]) == [verdict]


def test_what_cannot_be_told_apart_is_not_called_equal():
    few = measure({"a": 0.0, "b": 0.0}, n=4, spread=1.0)
    assert verdicts([Claim("new", "a", "b", "≈ 0"), Claim("new", "a", "b")], [few]) == [UNSHOWN, NOISE]


@pytest.mark.parametrize("seeds", [1, 2])
def test_no_verdict_below_three_seeds(seeds):
    one = judge([Claim("new", "a", "b"), Claim("new", "a", "b", "≈ 0")], [measure({"a": 2.0, "b": 0.0}, seeds)])
    assert [j.verdict for j in one] == [FEW, FEW] and all(j.p is None for j in one)
    assert one[0].difference.value == pytest.approx(2, abs=0.1) and one[0].difference.low > 0


def test_a_claim_is_judged_by_all_measures_of_its_questions_and_no_other():
    here, there = measure({"a": 0.5, "b": 0.0}), measure({"a": 0.5, "b": 0.0}, metric="accuracy")
    known = Measure("known", LOGP, here.scores, here.tasks)
    judged = judge([Claim("new", "a", "b"), Claim("new", "a", "missing")], [here, there, known])
    assert [one.metric for one in judged] == [LOGP, "accuracy"], "an arm that was not run is no claim"


def test_a_weak_difference_alone_is_lost_among_many():
    alone = measure({"a": 0.06, "b": 0.0, **{f"c{k}": 0.0 for k in range(20)}})
    first = Claim("new", "a", "b")
    (one,), (other, *_) = (
        judge([first], [alone]),
        judge([first, *(Claim("new", f"c{k}", "b") for k in range(20))], [alone]),
    )
    assert one.p is not None and other.p is not None and one.p < other.p


def test_the_finding_says_how_many_tests_were_made():
    found = claims_finding([Claim("new", "a", "b"), Claim("new", "a", "b", "≈ 0")], [measure({"a": 0.5, "b": 0.0})])
    assert found.text[0] == "Holds: a beats b (new, log p)." and "3 tests" in found.text[-1]
    assert found.table is not None and found.table.rows[0][-1] == HOLDS and found.table.rows[0][-2] < 1e-3
    low, high = found.table.rows[0][5].low, found.table.rows[0][5].high
    assert found.table.rows[0][6] == pytest.approx(1.4294 * (high - low) / 2, abs=1e-4)
    assert claims_finding([], []).table.rows == []
