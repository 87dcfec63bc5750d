"""A row a question, a column a model: the order, the kinds and the counts."""

from yosegi.evaluation.exact import mcnemar
from yosegi.reporting.answers import Asked
from yosegi.reporting.ledger import ledger


def asked(reference="base", **scores):
    said = {}
    for model, seeds in scores.items():
        seeds = [seeds] if isinstance(seeds[0], (int, float)) else seeds
        said[model] = [
            {f"q{i}": {"score": s, "prompt": f"p{i}" + " x" * 99, "target": f"t{i}"} for i, s in enumerate(seed)}
            for seed in seeds
        ]
    return Asked("t", reference if reference in said else None, None, said)


def kinds(found):
    return {line.id: "".join(square.kind for square in line.squares) for line in found.lines}


def test_gained_stands_first_then_lost_kept_and_wrong():
    found = ledger(asked(base=[1, 1, 0, 0, 0], x=[1, 0, 1, 0, 1], y=[1, 0, 1, 0, 0]))
    assert [line.id for line in found.lines] == ["q2", "q4", "q1", "q0", "q3"]
    assert kinds(found) == {"q2": "wgg", "q4": "wgw", "q1": "kll", "q0": "kkk", "q3": "www"}
    assert [line.group for line in found.lines] == [
        "gained by more", "gained by more", "lost by more", "right in all", "right in none",
    ]  # fmt: skip
    x = found.columns[1]
    assert x.counts == {"kept": 1, "gained": 2, "lost": 1, "wrong": 1} and x.pair.p == mcnemar(2, 1)
    assert found.columns[0].is_base and found.columns[0].pair is None


def test_without_a_base_questions_on_which_models_disagree_stand_first():
    found = ledger(asked(x=[1, 0, 1], y=[1, 0, 0]))
    assert [(line.id, line.group) for line in found.lines] == [
        ("q2", "the models disagree"), ("q0", "right in all"), ("q1", "right in none"),
    ]  # fmt: skip


def test_reciprocal_ranks_are_written_and_any_change_counts():
    found = ledger(asked(base=[0.5, 0.125, 1.0], x=[1.0, 0.25, 0.5]))
    assert found.fractions and kinds(found) == {"q0": "kg", "q1": "wg", "q2": "kl"}
    assert {line.id: [s.written for s in line.squares] for line in found.lines}["q1"] == [".12", ".25"]


def test_seeds_are_averaged():
    found = ledger(asked(base=[0, 1], x=[[1, 1], [0, 1], [0, 1]]))
    assert found.seeds == 3 and kinds(found) == {"q0": "wg", "q1": "kk"}
    assert found.lines[0].squares[1].written == ".33" and found.columns[1].pair.p is None


def test_what_is_too_much_is_left_out_and_counted():
    found = ledger(asked(base=[0] * 50, x=[0] * 25 + [1] * 25), cells=20)
    assert (len(found.lines), found.questions, found.columns[1].counts["gained"]) == (10, 50, 25)
    assert all(line.group == "gained by more" for line in found.lines)
    assert ledger(asked(base=[0, 1], x=[1, 0]), cells=4) is None and ledger(asked(base=[1])) is None


def test_of_a_long_prompt_the_end_is_shown():
    line = ledger(asked(base=[0], x=[1])).lines[0]
    assert line.prompt.startswith("…") and line.prompt.endswith("x x") and len(line.prompt) <= 91
