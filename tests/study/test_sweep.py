"""Options are tried once, chosen by validation, and the report says where a grid was too narrow."""

import pytest

from yosegi.errors import Diverged
from yosegi.study.sweep import frontier, sweep

GRIDS = {"a": {"lr": (0.1, 0.2, 0.3)}, "b": {"lr": (0.1, 0.2), "weight": (0.5, 1.0)}, "c": {"lr": (0.7,)}}


def test_the_best_on_validation_is_chosen_and_nothing_is_tried_twice(tmp_path):
    asked = []

    def measure(arm, option):
        asked.append((arm, option))
        return None if option["lr"] == 0.3 else [-abs(option["lr"] - 0.2), option["lr"]]

    found = sweep(tmp_path / "sweep.json", GRIDS, measure)
    assert found.chosen == {"a": {"lr": 0.2}, "b": {"lr": 0.2, "weight": 0.5}, "c": {"lr": 0.7}}
    assert len(asked) == 3 + 4, "one option is no choice"
    assert found.at_end() == ["b (lr 0.2)", "b (weight 0.5)"]
    again = sweep(tmp_path / "sweep.json", {"a": {"lr": (0.1, 0.2, 0.3, 0.4)}, **{k: GRIDS[k] for k in "bc"}}, measure)
    assert len(asked) == 8 and again.chosen == found.chosen, "a killed sweep goes on"
    text = " ".join(found.text())
    assert "a lr 0.2" in text and "wider" in text and "b (weight 0.5)" in text


def test_who_diverges_everywhere_is_named(tmp_path):
    with pytest.raises(Diverged, match="a diverges with every option: lr 0.1; lr 0.2; lr 0.3"):
        sweep(tmp_path / "sweep.json", GRIDS, lambda arm, option: None if arm == "a" else [0.0])


def test_the_finding_draws_two_numbers_against_each_other(tmp_path):
    found = sweep(tmp_path / "s.json", {"a": GRIDS["a"]}, lambda arm, o: [o["lr"], -o["lr"]])
    page = found.finding("Learnt and kept", ["learnt", "known"])
    assert page.table.rows[2] == ["a", "lr 0.3", 0.3, -0.3, "chosen"]
    assert page.figure.series[0].points == [(0.1, -0.1), (0.2, -0.2), (0.3, -0.3)]
    one = sweep(tmp_path / "t.json", {"a": GRIDS["a"]}, lambda arm, o: [o["lr"]]).finding("Rates", ["loss"])
    assert one.figure is None


def test_a_frontier_has_no_beaten_point():
    tried = [[-2.0, -9.0], [-0.3, -0.1], [-0.1, -0.3], [-0.2, -1.0], [-0.5, -0.1]]
    assert frontier(tried) == [[-0.3, -0.1], [-0.1, -0.3]]
    assert frontier([[-1.0, -1.0], [-2.0, -1.0]]) == [[-1.0, -1.0]], "a tie in one and a loss in the other is beaten"
