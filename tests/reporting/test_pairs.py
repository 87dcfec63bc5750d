"""Any two models: the overlap and the test against counting, and what is said of them."""

import pytest

from yosegi.evaluation.exact import mcnemar
from yosegi.evaluation.statistics import compare, over_seeds
from yosegi.reporting.answers import Asked
from yosegi.reporting.pairs import pair, pairs


def asked(chance=None, reference="base", **scores):
    """`asked(base="1100", x=["10", "01"])`: scores as digits (of one seed, or of several), or lists of numbers."""
    said = {}
    for model, seeds in scores.items():
        seeds = [seeds] if isinstance(seeds, str) or not isinstance(seeds[0], (str, list)) else seeds
        said[model] = [{f"q{i}": {"score": float(s)} for i, s in enumerate(seed)} for seed in seeds]
    return Asked("t", reference if reference in said else None, chance, said)


def ids(right, n=100):
    return "".join("1" if i in right else "0" for i in range(n))


def test_a_pair_is_counted():
    row = pair(asked(a="1110000", b="0111110"), "a", "b")
    assert (row.both, row.only_a, row.only_b, row.n, row.right) == (2, 1, 3, 7, (3, 5))
    assert row.jaccard == pytest.approx(2 / 6) and row.p == mcnemar(3, 1) and row.noise
    both = 3 * 5 / 7
    assert row.by_luck == pytest.approx(both / (8 - both))
    assert (row.higher, row.lower) == (3, 1)


def test_two_of_a_hundred_against_two_others_is_no_finding():
    """The four rows of the application of LoRAMoE to mathematics: the same 2 %, and hardly a question in common."""
    found = pairs(asked(zero_shot=ids({22, 86}), moe=ids({46, 67}), tuned=ids({48, 71}), both=ids({11, 71})))
    assert len(found.rows) == 6 and all(row.noise and row.p == 1 for row in found.rows)
    text = " ".join(found.words)
    assert "do not tell any two of the 4 models apart: no difference here is a finding" in text
    assert "has 2 of 100 right and" in text and "none of them the same (Jaccard 0.000" in text
    assert "0.6 % to 7.0 %" in text and "what luck looks like" in text
    near = next(row for row in found.rows if (row.a, row.b) == ("tuned", "both"))
    assert (near.both, near.jaccard) == (1, 1 / 3)


def test_a_difference_is_told_and_so_is_a_first_place_that_is_none():
    found = pairs(asked(base=ids(range(20)), x=ids(range(60)), y=ids(range(1, 60)), chance=0.25))
    text = " ".join(found.words)
    assert "2 of 3 pairs differ outside the noise, 2 when all are judged together (Holm)." in text
    assert "x stands first, but cannot be told from y (p 1.00)" in text and "Guessing is worth 0.250." in text
    two = pairs(asked(base="0" * 20, x="1" * 10 + "0" * 10))
    assert two.words == ["base and x differ outside the noise."]


def test_fractions_are_tested_as_the_rows_are():
    a, b = [0.5, 0.2, 1.0, 0.125] * 8, [1.0, 0.25, 0.5, 0.5] * 8
    row = pair(asked(a=a, b=b), "a", "b")
    assert row.p == compare(b, a).p_value and (row.higher, row.lower) == (24, 8)


def test_several_seeds_have_an_interval_and_a_base_of_one_seed_stands_against_each():
    seeds = ["1110110110", "1010110111", "1110111110"]
    one = pair(asked(base="1000010000", x=seeds), "base", "x")
    values = [[float(s) for s in seed] for seed in seeds]
    _, low, high = over_seeds(values, [[float(s) for s in "1000010000"]] * 3)
    assert (one.p, one.low, one.high, one.noise) == (None, low, high, low <= 0 <= high)
    found = pairs(asked(base="1000010000", x=seeds))
    assert found.seeds and found.words


def test_only_questions_that_both_were_asked():
    one = asked(a="110", b="101")
    del one.said["b"][0]["q1"]
    assert pair(one, "a", "b").n == 2
    one.said["b"][0].clear()
    assert pair(one, "a", "b") is None and pairs(one) is None
    assert pairs(asked(a="10")) is None


def test_of_many_models_those_with_the_reference_and_the_first():
    many = {f"m{i}": ids(range(i), 20) for i in range(12)}
    found = pairs(asked(reference="m0", **many))
    assert not found.every and found.compared == 21 and all({"m0", "m11"} & {r.a, r.b} for r in found.rows)
    few = pairs(asked(reference="m0", **many), listed=5)
    assert len(few.rows) == 5 and few.compared == 21 and few.words == found.words
    assert not any(row.noise for row in few.rows)
