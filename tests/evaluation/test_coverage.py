"""Every interval and every verdict, held to what it promises by simulation: 95 of 100 intervals hold the truth, five of a hundred
tests of nothing find something, four of five differences of the size that could be seen are seen. The seeds are fixed."""

import numpy as np
import pytest

from yosegi.evaluation.correlation import correlate
from yosegi.evaluation.exact import holm, mcnemar, mid_p
from yosegi.evaluation.statistics import (
    compare,
    difference_p,
    equivalence_p,
    interval,
    jackknife,
    over_seeds,
    over_tasks,
)
from yosegi.study.claims import BETTER, HOLDS, MARGIN, NOISE, REVERSE, WORSE, Claim, judge
from yosegi.study.measures import Measure

RUNS, CLAIMS = 800, 150
"""Simulations of an interval or a p, and of a table of claims."""


def crossed(rng, S, N, shift=0.0, of_seeds=0.3, of_items=1.0, of_rest=0.5):
    """Scores [seeds, questions] of a true mean `shift`: some seeds are better, some questions easier."""
    return shift + rng.normal(0, of_items, N) + rng.normal(0, of_seeds, S)[:, None] + rng.normal(0, of_rest, (S, N))


def shares(rng, S, N):
    """Right or wrong, where questions differ in how hard they are and seeds in how good."""
    return (rng.random((S, N)) < np.clip(rng.beta(0.5, 1.5, N) * rng.uniform(0.9, 1.1, S)[:, None], 0, 1)).astype(float)


def counted(rng):
    truth = rng.uniform(0.02, 0.98)
    return truth, interval((rng.random(rng.integers(10, 80)) < truth).astype(int).tolist())


def compared(rng, counts):
    if counts:
        before = rng.random(60) < 0.5
        after, truth = np.where(rng.random(60) < 0.2, rng.random(60) < 0.7, before), 0.2 * 0.2
    else:
        before = rng.normal(0, 1, 40)
        after, truth = before + rng.normal(0.1, 0.5, 40), 0.1
    found = compare(after.astype(float).tolist(), before.astype(float).tolist())
    return truth, (found.diff_low, found.diff_high)


def of_tasks(rng):
    each = rng.normal(0, 1, 6)
    values = np.repeat(each, 20)[None] + rng.normal(0, 0.5, (3, 120))
    return 0.0, over_seeds(values, tasks=[f"t{n // 20}" for n in range(120)])[1:]


def of_unlike_tasks(rng):
    mean_K, size_K = (0.1, 0.6, -0.3), (30, 12, 60)
    return np.mean(mean_K), over_tasks([rng.normal(m, 0.5, n) for m, n in zip(mean_K, size_K, strict=True)])[1:]


def cut_in_ten(rng):
    """A ratio of means, which is no mean: of 60 questions, and without each tenth of them."""
    x, y = rng.gamma(4, 0.25, 60), rng.gamma(4, 0.5, 60)
    parts = [np.delete(x, slice(n, None, 10)).sum() / np.delete(y, slice(n, None, 10)).sum() for n in range(10)]
    return 0.5, jackknife(x.sum() / y.sum(), parts)


INTERVALS = {
    "right or wrong": counted,
    "scores from 0 to 1, few": lambda rng: (0.4, interval(rng.beta(2, 3, rng.integers(3, 12)).tolist())),
    "scores from 0 to 1": lambda rng: (0.4, interval(rng.beta(2, 3, 60).tolist())),
    "log p": lambda rng: (-2.0, interval((-rng.gamma(2, 1, 50)).tolist())),
    "over seeds and questions": lambda rng: (0.0, over_seeds(crossed(rng, 3, 60))[1:]),
    "over seeds that hardly differ": lambda rng: (0.0, over_seeds(crossed(rng, 3, 60, of_seeds=0.0))[1:]),
    "over seeds that differ most": lambda rng: (0.0, over_seeds(crossed(rng, 3, 400, of_seeds=0.1, of_rest=0.3))[1:]),
    "over one seed": lambda rng: (0.0, over_seeds(crossed(rng, 1, 60, of_seeds=0.0))[1:]),
    "shares over seeds": lambda rng: (0.25, over_seeds(shares(rng, 3, 60))[1:]),
    "differences": lambda rng: (0.2, over_seeds(*(crossed(rng, 3, 50, shift) for shift in (0.2, 0.0)))[1:]),
    "over tasks": of_tasks,
    "over other questions of unlike tasks": of_unlike_tasks,
    "a comparison of scores": lambda rng: compared(rng, False),
    "a comparison of right and wrong": lambda rng: compared(rng, True),
    "the jackknife": cut_in_ten,
}


@pytest.mark.parametrize("name", INTERVALS)
def test_an_interval_holds_the_truth(name):
    rng, held = np.random.default_rng(0), 0
    for _ in range(RUNS):
        truth, (low, high) = INTERVALS[name](rng)
        held += low <= truth <= high
    assert 0.985 >= held / RUNS >= 0.925


def changed(rng, p):
    """Sixty questions, of which about 24 changed, either way alike."""
    gained, lost = rng.multinomial(60, (0.2, 0.2, 0.6))[:2]
    return p(int(gained), int(lost))


def pair(rng, S, N, shift=0.0):
    hard = rng.normal(0, 1, N)
    return [hard + crossed(rng, S, N, one, 0.05, 0.3, 0.2) for one in (shift, 0.0)]


def alike(rng):
    """Pairs of tasks, some of which have high numbers with everyone, in two matrices that have nothing to do with each other."""
    (a, b), noise = rng.normal(0, 1, (2, 8)), rng.normal(0, 1, (2, 8, 8))
    x, y = (np.triu(one, 1) + np.triu(one, 1).T for one in (a[:, None] + a + noise[0], b[:, None] + b + noise[1]))
    return correlate(x, y, lambda x, y: (np.corrcoef(x, y)[0, 1],), 40).p


TESTS = {
    "McNemar's exact test": lambda rng: changed(rng, mcnemar),
    "its mid-p": lambda rng: changed(rng, mid_p),
    "signs of few": lambda rng: compare(*rng.normal(0, 1, (2, 8)).tolist()).p_value,
    "a comparison": lambda rng: compare(*rng.normal(0, 1, (2, 40)).tolist()).p_value,
    "a difference over seeds": lambda rng: difference_p(*pair(rng, 3, 40)),
    "a difference of seeds that differ most": lambda rng: difference_p(*pair(rng, 3, 400)),
    "a difference over tasks": lambda rng: difference_p(*pair(rng, 3, 40), [f"t{n % 5}" for n in range(40)]),
    "an equality of what differs by the margin": lambda rng: equivalence_p(*pair(rng, 3, 400, 0.1), 0.1),
    "many tests, by Holm": lambda rng: min(holm(rng.random(20).tolist())),
    "a correlation, by Mantel": alike,
}


@pytest.mark.parametrize("name", TESTS)
def test_of_nothing_something_is_found_in_five_of_a_hundred_cases(name):
    rng, runs = np.random.default_rng(1), 100 if "Mantel" in name else RUNS
    wrong = sum(TESTS[name](rng) <= 0.05 for _ in range(runs))
    assert 0.01 <= wrong / runs <= 0.05 + 3 * (0.05 * 0.95 / runs) ** 0.5


def verdicts(rng, shifts, paper, seeds=3, n=150):
    """The verdicts on arms that differ from the last one by so much."""
    hard = rng.normal(0, 1, n)
    scores = {
        arm: {s: (hard + shift + rng.normal(0, 0.01) + rng.normal(0, 0.1, n)).tolist() for s in range(seeds)}
        for arm, shift in {**shifts, "b": 0.0}.items()
    }
    measure = Measure("g", "score", scores, ["t"] * n)
    return {one.verdict for one in judge([Claim("g", arm, "b", paper) for arm in shifts], [measure])}


MANY = {f"a{n}": 0.0 for n in range(8)}


@pytest.mark.parametrize(
    ("shifts", "paper", "wrong"),
    [
        ({"a": 0.0}, "> 0", {HOLDS, REVERSE}),
        (MANY, "> 0", {HOLDS, REVERSE}),
        ({"a": 0.0}, "≈ 0", {BETTER, WORSE}),
        ({"a": MARGIN}, "≈ 0", {HOLDS}),
        ({"a": -MARGIN}, "≈ 0", {HOLDS}),
        ({"a": 0.1}, "> 0", {REVERSE, NOISE}),
    ],
)
def test_a_verdict_is_wrong_in_five_of_a_hundred_cases(shifts, paper, wrong):
    rng = np.random.default_rng(2)
    said = sum(bool(verdicts(rng, shifts, paper) & wrong) for _ in range(CLAIMS))
    assert said / CLAIMS <= 0.05 + 3 * (0.05 * 0.95 / CLAIMS) ** 0.5


def test_a_difference_of_the_size_that_could_be_seen_is_seen_in_four_of_five_cases():
    rng, found, n = np.random.default_rng(0), 0, 60
    for _ in range(RUNS):
        base, noise = rng.normal(size=n), rng.normal(size=n)
        could = compare((base + noise).tolist(), base.tolist()).detectable  # what such a run says of itself
        after = base + noise - noise.mean() + could + rng.normal() / n**0.5
        found += not compare(after.tolist(), base.tolist()).inside_noise
    assert 0.76 < found / RUNS < 0.84
