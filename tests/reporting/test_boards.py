import json

import pytest

from yosegi.reporting.boards import boards
from yosegi.reporting.read import read


@pytest.fixture
def found(tmp_path):
    def write(*rows):
        defaults = {"split": "test", "base": "nano", "seed": 0, "n": 100}
        lines = [json.dumps(defaults | row) for row in rows]
        (tmp_path / "results.jsonl").write_text("".join(line + "\n" for line in lines))
        return read([tmp_path])

    return write


def one(model, task, value, metric="accuracy", **more):
    return {"model": model, "task": task, "metric": metric, "value": value, **more}


def test_models_are_sorted_by_their_mean_below_the_base(found):
    rows = [one(m, t, v) for m, v in (("low", 0.1), ("base", 0.5), ("high", 0.9)) for t in ("a", "b")]
    board = boards(found(*rows, one("half", "a", 1.0)))[0]
    assert [line.model for line in board.lines] == ["base", "high", "low", "half"]
    assert [line.mean.value for line in board.lines] == [0.5, 0.9, 0.1, None]
    assert board.lines[3].scores[1].value is None and board.lines[3].scores[0].best


def test_cells_are_measured_against_the_base(found):
    board = boards(found(one("base", "a", 0.5), one("up", "a", 0.9), one("down", "a", 0.4)))[0]
    base, up, down = (line.scores[0] for line in board.lines)
    assert base.change is None and base.tint == 0
    assert up.change == pytest.approx(0.4) and up.tint == 1
    assert down.tint == pytest.approx(-0.25) and down.axis.base == 50


def test_a_tiny_difference_is_not_coloured_as_if_it_were_large(found):
    board = boards(found(one("base", "a", 0.5), one("up", "a", 0.51)))[0]
    assert board.lines[1].scores[0].tint == pytest.approx(0.1)


def test_of_a_perplexity_less_is_better(found):
    rows = [
        one("base", "a", 20.0, "perplexity"),
        one("good", "a", 10.0, "perplexity"),
        one("bad", "a", 30.0, "perplexity"),
    ]
    board = boards(found(*rows))[0]
    assert [line.model for line in board.lines] == ["base", "good", "bad"]
    assert [line.scores[0].best for line in board.lines] == [False, True, False]
    assert board.lines[1].scores[0].tint == 1 and board.lines[2].scores[0].tint == -1
    assert board.axis == {"perplexity": (10.0, 30.0)}


def test_metrics_of_two_kinds_have_a_mean_rank(found):
    mixed = [
        one("base", "a", 0.5),
        one("base", "b", 20.0, "perplexity"),
        one("x", "a", 0.6),
        one("x", "b", 10.0, "perplexity"),
    ]
    board = boards(found(*mixed))[0]
    assert board.summary == "mean rank" and [line.mean.value for line in board.lines] == [2, 1]
    assert [cell.tint for cell in board.lines[1].scores] == pytest.approx([1, 1])
    assert [board.head(task) for task in board.tasks] == ["accuracy, n = 100", "perplexity, n = 100"]
    shares = [one("base", "a", 0.5), one("base", "b", 0.25, "rouge"), one("x", "a", 0.5), one("x", "b", 0.2, "rouge")]
    assert [line.mean.value for line in boards(found(*shares))[0].lines] == [
        1.25,
        1.75,
    ]  # they share the first place on a


def test_every_metric_has_its_place_in_the_switch(found):
    rows = [
        one("base", "a", 0.5),
        one("base", "a", -1.0, "logp"),
        one("base", "b", 0.25, "rouge"),
        one("base", "b", -2.0, "logp"),
    ]
    made = boards(found(*rows))
    assert [(board.name, board.tasks) for board in made] == [
        ("first metric of each task", ["a", "b"]), ("accuracy", ["a"]), ("logp", ["a", "b"]), ("rouge", ["b"]),
    ]  # fmt: skip


def test_seeds_become_a_mean_and_a_spread(found):
    rows = [one("x", "a", v, seed=s, ci_low=v - 0.1, ci_high=v + 0.1) for s, v in enumerate((0.4, 0.5, 0.6))]
    board = boards(found(one("base", "a", 0.2), *rows))[0]
    cell = board.lines[1].scores[0]
    assert cell.value == pytest.approx(0.5) and cell.spread == pytest.approx(0.1)
    assert cell.axis.bar == (40, 20) and cell.axis.seeds == (40, 50, 60) and board.has_seeds
    assert [m.value for m in cell.rows] == [0.4, 0.5, 0.6]


def test_where_all_have_the_same_none_is_the_best(found):
    board = boards(found(one("base", "a", 0.5), one("x", "a", 0.5), one("x", "b", 0.5)))[0]
    assert [[score.best for score in line.scores] for line in board.lines] == [[False, False], [False, True]]
    board = boards(found(*(one(m, t, 0.5) for m in ("base", "x") for t in ("a", "b"))))[0]
    assert board.summary == "mean" and not any(line.mean.best for line in board.lines)
