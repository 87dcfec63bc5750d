import json
import math

import pytest

from yosegi.errors import Corrupt
from yosegi.reporting.context import Context
from yosegi.reporting.read import read
from yosegi.reporting.sections import routing
from yosegi.reporting.sections.routing import COLUMNS


@pytest.fixture
def routers(tmp_path):
    def write(tasks, experts=("a", "b"), many=1, **more):
        router = {"layers": ["l.0", "l.1"], "tasks": tasks, **more}
        written = {"experts": list(experts), "routers": {f"arrow{i or ''}": router for i in range(many)}}
        (tmp_path / "routing.json").write_text(json.dumps(written))
        return routing.section(Context(read([tmp_path])))["routers"]

    return write


def test_the_table_is_the_mean_over_layers(routers):
    (one,) = routers({"t": [[1.0, 0.0], [0.5, 0.5]]}, entropy={"t": [0.0, 0.7]})
    assert one["tasks"] == {"t": ([0.75, 0.25], 0.35)} and one["top"] == 1


def test_the_grid_holds_every_number(routers):
    (one,) = routers({"t": [[1.0, 0.0], [0.5, 0.25]]})
    ((task, grid),) = one["grids"]
    assert task == "t" and grid.paths == [(5, "M1 1.5h1"), (10, "M0 1.5h1"), (20, "M0 0.5h1")]
    assert json.loads(grid.data) == {"rows": ["l.0", "l.1"], "columns": ["a", "b"], "values": [[1, 0], [0.5, 0.25]]}


def test_a_router_that_gives_every_token_the_same_weights_is_a_line(tmp_path):
    even, told = {"t": [[0.5, 0.5]] * 2, "u": [[0.5, 0.5]] * 2}, {"t": [[1, 0]] * 2, "u": [[0, 1]] * 2}
    tokens = [{"task": "t", "text": ["x"], "chosen": ["-1", "-1"], "weights": [[0.5, 0.5]]}]
    by_token = [{"task": "t", "text": ["x", "y"], "chosen": ["0 1", "1 0"]}]
    written = {
        "uniform": {"tasks": even, "tokens": tokens},
        "static": {"tasks": {"t": [[0.75, 0.25]] * 2}},
        "switches": {"tasks": even, "tokens": by_token},
        "by_layer": {"tasks": {"t": [[1, 0], [0, 1]]}},
        "oracle": {"tasks": told},
        "weak": {"tasks": {"t": [[0.6, 0.4]] * 2, "u": [[0.5, 0.5]] * 2}},
        "arrow": {"tasks": {"t": [[0.9, 0.1]] * 2, "u": [[0.2, 0.8]] * 2}},
    }
    (tmp_path / "routing.json").write_text(json.dumps({"experts": ["a", "b"], "routers": written}))
    row = {"model": "oracle", "router": "oracle", "task": "t", "metric": "accuracy", "value": 1.0}
    (tmp_path / "results.jsonl").write_text(json.dumps(row) + "\n")
    found = routing.section(Context(read([tmp_path])))
    assert found["constant"] == {"uniform": "0.500 for each of 2 experts", "static": "a 0.750, b 0.250"}
    names = [router["name"] for router in found["routers"]]
    assert names == ["arrow", "weak", "switches", "by_layer", "oracle"], (
        "what tells most stands first, who is told last"
    )
    information = {router["name"]: router["information"] for router in found["routers"]}
    assert information["oracle"] == pytest.approx(math.log(2)) and information["by_layer"] == 0


def test_how_many_layers_stand_behind_a_row_is_kept(routers):
    (one,) = routers({"t": [[1.0, 0.0], [0.5, 0.25]]}, averaged=28)
    assert (one["averaged"], one["load"]["rows"]) == (28, 2)


def test_grids_stop_where_the_page_would_grow_too_large(routers, monkeypatch):
    monkeypatch.setattr(routing, "SQUARES", 14)
    (one,) = routers({str(i): [[1.0, 0.0], [0.5, 0.5]] for i in range(5)})
    assert [task for task, _ in one["grids"]] == ["0", "1", "2"] and one["left_out"] == 2


def test_every_router_has_its_share_of_the_page(routers, monkeypatch):
    monkeypatch.setattr(routing, "SQUARES", 72)
    assert [len(one["grids"]) for one in routers({str(i): [[1.0, 0.0], [0.5, 0.5]] for i in range(9)}, many=3)] == [
        2,
        2,
        2,
    ]


def test_many_experts_have_no_columns_but_a_grid(routers):
    names = [f"e{i}" for i in range(COLUMNS + 1)]
    (one,) = routers({t: [[1 / len(names)] * len(names), [1.0] + [0.0] * COLUMNS] for t in "ab"}, names)
    assert one["overview"].rows == ["a", "b"] and one["overview"].columns == names


@pytest.mark.parametrize(
    "row",
    [
        {"tasks": {"t": [[1.0]]}},
        {"tasks": {"t": [[1.0, 0.0]], "u": [[0.5, 0.5]]}, "active": {"t": [[1.0]]}, "cv": {"t": [0.0]}},
        {"tasks": {}, "tokens": [{"task": "t", "text": ["a"], "chosen": ["2"]}]},
    ],
)
def test_what_does_not_have_the_shape_is_named(routers, row):
    with pytest.raises(Corrupt, match=r"routing\.json: router 'arrow'"):
        routers(**row)


def test_a_file_that_is_no_object_is_named(tmp_path):
    (tmp_path / "routing.json").write_text("[1]")
    with pytest.raises(Corrupt, match=r"routing\.json is not an object"):
        read([tmp_path])
