"""One row per question, one column per model: the order, the kinds and the counts."""

from yosegi.evaluation.exact import mcnemar
from yosegi.reporting.answers import Answers
from yosegi.reporting.sections.ledger import ledger


def answers(reference="base", **scores):
    rows = {}
    for model, seeds in scores.items():
        seeds = [seeds] if isinstance(seeds[0], (int, float)) else seeds
        rows[model] = [{f"q{i}": {"id": f"q{i}", "score": s} for i, s in enumerate(seed)} for seed in seeds]
    return Answers("t", dict.fromkeys(scores, reference), None, rows)


def kinds(found):
    return {row["id"]: "".join(kind for kind, _ in squares) for row, _, squares in found.lines}


def groups(found):
    return [(row["id"], group) for row, group, _ in found.lines]


def test_gained_stands_first_then_lost_kept_and_wrong():
    found = ledger(answers(base=[1, 1, 0, 0, 0], x=[1, 0, 1, 0, 1], y=[1, 0, 1, 0, 0]))
    assert [row["id"] for row, *_ in found.lines] == ["q2", "q4", "q1", "q0", "q3"]
    assert kinds(found) == {"q2": "wgg", "q4": "wgw", "q1": "kll", "q0": "kkk", "q3": "www"}
    assert [group for _, group, _ in found.lines] == [
        "gained by more", "gained by more", "lost by more", "right in all", "right in none",
    ]  # fmt: skip
    assert found.counts["x"] == {"k": 1, "g": 2, "l": 1, "w": 1} and found.pairs["x"].p == mcnemar(2, 1)
    assert found.base == "base" and found.pairs["base"] is None


def test_without_a_base_questions_on_which_models_disagree_stand_first():
    found = ledger(answers(x=[1, 0, 1], y=[1, 0, 0]))
    assert groups(found) == [
        ("q2", "the models disagree"), ("q0", "right in all"), ("q1", "right in none"),
    ]  # fmt: skip


def test_reciprocal_ranks_are_written_and_any_change_counts():
    found = ledger(answers(base=[0.5, 0.125, 1.0], x=[1.0, 0.25, 0.5]))
    assert found.fractions and kinds(found) == {"q0": "kg", "q1": "wg", "q2": "kl"}
    assert {row["id"]: squares for row, _, squares in found.lines}["q1"] == [("w", 0.125), ("g", 0.25)]


def test_seeds_are_averaged():
    found = ledger(answers(base=[0, 1], x=[[1, 1], [0, 1], [0, 1]]))
    assert found.seeds == 3 and kinds(found) == {"q0": "wg", "q1": "kk"}
    assert found.lines[0][2][1][1] == 1 / 3 and found.pairs["x"].p is None


def test_what_is_too_much_is_left_out_and_counted():
    found = ledger(answers(base=[0] * 50, x=[0] * 25 + [1] * 25), cells=20)
    assert (len(found.lines), found.questions, found.counts["x"]["g"]) == (10, 50, 25)
    assert all(group == "gained by more" for _, group, _ in found.lines)
    assert ledger(answers(base=[0, 1], x=[1, 0]), cells=4) is None and ledger(answers(base=[1])) is None
