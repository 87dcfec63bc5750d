import json

import pytest

from yosegi.reporting.draw.marks import COLOURS
from yosegi.reporting.sections.routing import Trace, chosen, prompts


def router(*lines, text=("x", "\n", "z"), tokens=1):
    prompt = {"task": "t", "text": list(text), "chosen": list(lines), "left_out": 4}
    return {"layers": [f"l.{i}" for i in range(len(lines))], "tokens": [prompt] * tokens}


def trace(row, experts=("a", "b"), squares=100_000):
    return Trace(row, list(experts), "k", squares)


def test_squares_have_the_colour_of_the_chosen():
    found = chosen(trace(router("0 0 1", "1", "-1 0 -1", "")))
    (grid,) = found["examples"]
    assert grid["paths"] == {"c0": "M0 0.5h2M1 2.5h1", "c1": "M2 0.5h1M0 1.5h3"}, "blank where none stands out"
    assert (grid["columns"], grid["rows"], grid["skipped"]) == (3, 4, 4)
    data = json.loads(grid["data"])
    assert data["columns"] == ["x", "⏎", "z"] and data["rows"] == ["l.0", "l.1", "l.2", "l.3"]
    assert data["chosen"] == ["0 0 1", "1", "-1 0 -1", ""] and json.loads(found["names"]) == ["a", "b"]
    assert found["legend"] == [("c0", "a"), ("c1", "b")] and found["others"] == 0


def test_of_many_experts_those_chosen_most_have_colours():
    names = [f"e{i}" for i in range(COLOURS + 5)]
    line = " ".join(map(str, [*range(2, COLOURS + 2), 14, 14, 14]))
    found = chosen(trace(router(line, text=["x"] * (COLOURS + 3)), names))
    colours = found["colours"]
    assert colours[14] == "c0" and len(found["legend"]) == COLOURS and found["others"] == 5
    assert colours[0] == colours[1] == colours[COLOURS + 1] == "other", "never or least chosen"
    assert found["examples"][0]["paths"]["other"] == f"M{COLOURS - 1} 0.5h1"


def test_a_trace_of_weights_alone_has_colours_by_weight():
    names = [f"e{i}" for i in range(COLOURS + 1)]
    weights = [[float(i == e) for i in range(COLOURS + 1)] for e in (7, 7, 3)]
    found = chosen(trace({"tokens": [{"task": "t", "text": ["x"] * 3, "weights": weights}]}, names))
    assert found["examples"] == [] and found["others"] == COLOURS - 1
    assert found["colours"][7] == "c0" and found["colours"][3] == "c1"


def test_grids_stop_where_the_page_would_grow_too_large():
    found = chosen(trace(router("0 1 0", tokens=5), squares=10))
    assert len(found["examples"]) == 3 and found["left_out"] == 2


@pytest.mark.parametrize("line", ["0 1", "2", "-2", "a"])
def test_what_names_no_expert_for_each_token_is_refused(line):
    with pytest.raises(ValueError):
        chosen(trace(router(line)))


def test_tokens_are_shared_out():
    row = {"tokens": [{"task": "t", "text": ["りん", "\n"], "weights": [[0.75, 0.25], [0.0, 1.0]]}]}
    (prompt,) = prompts(trace(row))
    assert (prompt["task"], prompt["before"], prompt["after"]) == ("t", 0, 0)
    assert [(t["text"], t["shares"]) for t in prompt["tokens"]] == [
        ("りん", [(0, 75.0), (1, 25.0)]),
        ("⏎", [(1, 100.0)]),
    ]
    assert "a 0.750" in prompt["tokens"][0]["title"]


def test_prompts_are_cut_and_some_have_only_the_chosen_experts():
    row = {"task": "t", "text": ["a"], "chosen": ["0", "0"]}
    both = trace({"tokens": [{**row, "left_out": 7, "weights": [[1.0, 0.0]]}, row]})
    assert [(p["before"], p["after"]) for p in prompts(both)] == [(7, 0)] and len(chosen(both)["examples"]) == 2
    long = {"task": "t", "text": ["a"] * 130, "weights": [[1.0, 0.0]] * 130}
    assert [(len(p["tokens"]), p["after"]) for p in prompts(trace({"tokens": [long]}))] == [(120, 10)]


def test_prompts_stop_where_the_page_would_grow_too_large():
    row = {"tokens": [{"task": "t", "text": ["a"] * 50, "weights": [[0.5, 0.5]] * 50}] * 3}
    assert len(prompts(trace(row))) == 3 > len(prompts(trace(row, squares=3000))) == 1
