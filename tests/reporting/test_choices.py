import json

import pytest

from yosegi.reporting.choices import COLOURS, choices


def router(*lines, text=("x", "\n", "z"), tokens=1):
    prompt = {"task": "t", "text": list(text), "chosen": list(lines), "left_out": 4}
    return {"layers": [f"l.{i}" for i in range(len(lines))], "tokens": [prompt] * tokens}


def test_squares_have_the_colour_of_the_chosen():
    found = choices(router("0 0 1", "1", "-1 0 -1", ""), ["a", "b"], "k", 10_000)
    (grid,) = found.grids
    assert grid.paths == [("c0", "M0 0.5h2M1 2.5h1"), ("c1", "M2 0.5h1M0 1.5h3")], (
        "blank where nobody stands out or reads"
    )
    assert (grid.columns, grid.rows, grid.skipped) == (3, 4, 4)
    said = json.loads(grid.data)
    assert said["columns"] == ["x", "⏎", "z"] and said["rows"] == ["l.0", "l.1", "l.2", "l.3"]
    assert said["chosen"] == ["0 0 1", "1", "-1 0 -1", ""] and json.loads(found.names) == ["a", "b"]
    assert found.legend == [("c0", "a"), ("c1", "b")] and found.others == 0


def test_of_many_experts_those_chosen_most_have_colours():
    names = [f"e{i}" for i in range(COLOURS + 5)]
    line = " ".join(map(str, [*range(2, COLOURS + 2), 14, 14, 14]))
    found = choices(router(line, text=["x"] * (COLOURS + 3)), names, "k", 10_000)
    assert found.hues[14] == "c0" and len(found.legend) == COLOURS and found.others == 5
    assert found.hues[0] == found.hues[1] == found.hues[COLOURS + 1] == "other", "never or least chosen"
    assert dict(found.grids[0].paths)["other"] == f"M{COLOURS - 1} 0.5h1"


def test_runs_of_before_have_colours_by_weight():
    names = [f"e{i}" for i in range(COLOURS + 1)]
    weights = [[float(i == e) for i in range(COLOURS + 1)] for e in (7, 7, 3)]
    found = choices({"tokens": [{"task": "t", "text": ["x"] * 3, "weights": weights}]}, names, "k", 10_000)
    assert found.grids == [] and found.hues[7] == "c0" and found.hues[3] == "c1" and found.others == COLOURS - 1


def test_grids_stop_where_the_page_would_grow_too_large():
    found = choices(router("0 1 0", tokens=5), ["a", "b"], "k", 1500)
    assert len(found.grids) + found.left_out == 5 and 0 < found.left_out < 5 and found.bytes <= 1500


@pytest.mark.parametrize("line", ["0 1", "2", "-2", "a"])
def test_what_names_no_expert_for_each_token_is_refused(line):
    with pytest.raises(ValueError):
        choices(router(line), ["a", "b"], "k", 10_000)
