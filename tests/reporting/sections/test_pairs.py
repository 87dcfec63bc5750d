"""Any two models of a task: what is said of all pairs together."""

import re

from yosegi.reporting.answers import Answers
from yosegi.reporting.page import render
from yosegi.reporting.sections.pairs import compare


def answers(chance=None, reference="base", **scores):
    """`answers(base="1100", x=["10", "01"])`: scores as digits (of one seed, or of several), or lists of numbers."""
    rows = {}
    for model, seeds in scores.items():
        seeds = [seeds] if isinstance(seeds, str) or not isinstance(seeds[0], (str, list)) else seeds
        rows[model] = [{f"q{i}": {"score": float(s)} for i, s in enumerate(seed)} for seed in seeds]
    return Answers("t", dict.fromkeys(scores, reference), chance, rows)


def ids(right, n=100):
    return "".join("1" if i in right else "0" for i in range(n))


def words(task):
    """The paragraphs of the section."""
    html = render("sections/pairs.html.j2", tasks=[task])
    return " ".join(re.findall(r'<p class="prose">(.*?)</p>', html))


def test_two_of_a_hundred_against_two_others_is_no_finding():
    """The four rows of the application of LoRAMoE to mathematics: the same 2 %, and hardly a question in common."""
    found = compare(answers(zero_shot=ids({22, 86}), moe=ids({46, 67}), tuned=ids({48, 71}), both=ids({11, 71})))
    assert len(found["rows"]) == 6 and all(row.noise and row.p == 1 for row in found["rows"])
    text = words(found)
    assert "do not tell any two of the 4 models apart: no difference here is a finding" in text
    assert "has 2 of 100 right and" in text and "none of them the same (Jaccard 0.000" in text
    assert "0.6 % to 7.0 %" in text and "what luck looks like" in text
    near = next(row for row in found["rows"] if (row.a, row.b) == ("tuned", "both"))
    assert (near.both, near.jaccard) == (1, 1 / 3)


def test_a_difference_is_told_and_so_is_a_first_place_that_is_none():
    found = compare(answers(base=ids(range(20)), x=ids(range(60)), y=ids(range(1, 60)), chance=0.25))
    text = words(found)
    assert "2 of 3 pairs differ outside the noise, 2 when all are judged together (Holm)." in text
    assert "x stands first, but cannot be told from y (p 1.00)" in text and "Guessing scores 0.250." in text
    two = compare(answers(base="0" * 20, x="1" * 10 + "0" * 10))
    assert "base and x differ outside the noise." in words(two)


def test_of_many_models_those_with_the_reference_and_the_first():
    many = {f"m{i}": ids(range(i), 20) for i in range(12)}
    found = compare(answers(reference="m0", **many))
    assert not found["all_pairs"] and found["compared"] == 21 and all({"m0", "m11"} & {r.a, r.b} for r in found["rows"])
    few = compare(answers(reference="m0", **many), listed=5)
    assert len(few["rows"]) == 5 and few["compared"] == 21 and few["apart"] == found["apart"]
    assert not any(row.noise for row in few["rows"])


def test_a_single_model_or_nothing_in_common_has_no_pairs():
    assert compare(answers(a="10")) is None
    apart = answers(a="10", b="10")
    apart.rows["b"][0].clear()
    assert compare(apart) is None


def test_of_several_seeds_the_interval_is_said():
    found = compare(answers(base="1000010000", x=["1110110110", "1010110111", "1110111110"]))
    assert found["seeds"] and "interval</th>" in render("sections/pairs.html.j2", tasks=[found])


def test_two_that_have_the_same_questions_right_stand_first_together():
    right = ids(set(range(50)))
    text = words(compare(answers(base=ids({1}), expert=right, oracle=right)))
    assert "expert and oracle stand first, with the same questions right." in text and "cannot be told" not in text
