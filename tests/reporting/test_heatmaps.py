import json

import pytest

from yosegi.errors import Corrupt
from yosegi.reporting import heatmaps
from yosegi.reporting.read import read


@pytest.fixture
def found(tmp_path):
    def write(**parts):
        for name, value in parts.items():
            (tmp_path / f"{name}.json").write_text(json.dumps(value))
        return read([tmp_path])

    return write


def routing(tasks, experts=("a", "b"), **more):
    return {"experts": list(experts), "routers": {"arrow": {"layers": ["l.0", "l.1"], "tasks": tasks, **more}}}


def test_the_table_is_the_mean_over_layers(found):
    one = heatmaps.routings(found(routing=routing({"t": [[1.0, 0.0], [0.5, 0.5]]}, entropy={"t": [0.0, 0.7]})))[0]
    assert one.tasks == [("t", [0.75, 0.25], 0.35)] and one.top == 1


def test_the_grid_holds_every_number(found):
    grid = heatmaps.routings(found(routing=routing({"t": [[1.0, 0.0], [0.5, 0.25]]})))[0].grids[0]
    assert json.loads(grid.data) == {"rows": ["l.0", "l.1"], "columns": ["a", "b"], "values": [[1, 0], [0.5, 0.25]]}
    assert grid.paths == [(0.25, "M1 1.5h1"), (0.5, "M0 1.5h1"), (1.0, "M0 0.5h1")]


def test_many_layers_are_averaged_by_block(found):
    layers = [f"model.layers.{i}.{part}" for i in range(20) for part in ("up", "down")]
    weights = [[float(i % 2), 0.0] for i in range(40)]
    value = routing({"t": weights})
    value["routers"]["arrow"]["layers"] = layers
    one = heatmaps.routings(found(routing=value))[0]
    assert one.averaged == 40 and one.grids[0].rows[:2] == ["block 0", "block 1"] and len(one.grids[0].rows) == 20
    assert json.loads(one.grids[0].data)["values"] == [[0.5, 0]] * 20


def test_grids_stop_where_the_page_would_grow_too_large(found, monkeypatch):
    monkeypatch.setattr(heatmaps, "BYTES", heatmaps.FRAME + 6000)
    one = heatmaps.routings(found(routing=routing({str(i): [[1.0, 0.0]] * 2 for i in range(5)})))[0]
    assert len(one.grids) + one.left_out == 5 and one.left_out


def test_tokens_are_shared_out(found):
    tokens = [{"task": "t", "text": ["りん", "\n"], "weights": [[0.75, 0.25], [0.0, 1.0]]}]
    one = heatmaps.routings(found(routing=routing({}, tokens=tokens)))[0]
    task, pieces, before, more = one.prompts[0]
    assert (task, before, more) == ("t", 0, 0)
    assert [(p.text, p.expert, p.shares) for p in pieces] == [
        ("りん", 0, [(0, 75.0), (1, 25.0)]),
        ("⏎", 1, [(1, 100.0)]),
    ]
    assert "a 0.750" in pieces[0].title


def test_prompts_are_cut_and_some_tell_only_who_was_chosen(found):
    row = {"task": "t", "text": ["a"], "chosen": ["0", "0"]}
    tokens = [{**row, "left_out": 7, "weights": [[1.0, 0.0]]}, row]
    one = heatmaps.routings(found(routing=routing({}, tokens=tokens)))[0]
    assert [(before, more) for _, _, before, more in one.prompts] == [(7, 0)] and len(one.choices.grids) == 2


def test_prompts_stop_where_the_page_would_grow_too_large(found, monkeypatch):
    tokens = [{"task": "t", "text": ["a"] * 50, "weights": [[0.5, 0.5]] * 50}] * 3
    whole = heatmaps.routings(found(routing=routing({}, tokens=tokens)))[0]
    monkeypatch.setattr(heatmaps, "BYTES", heatmaps.FRAME + 13_000)
    assert len(whole.prompts) == 3 > len(heatmaps.routings(found(routing=routing({}, tokens=tokens)))[0].prompts) == 1


def test_every_router_has_its_share_of_the_page(found, monkeypatch):
    monkeypatch.setattr(heatmaps, "BYTES", 3 * (heatmaps.FRAME + 8000))
    value = routing({str(i): [[1.0, 0.0]] * 2 for i in range(9)})
    value["routers"] = {str(i): value["routers"]["arrow"] for i in range(3)}
    drawn = [len(one.grids) for one in heatmaps.routings(found(routing=value))]
    assert 1 <= drawn[0] < 9 and drawn == sorted(drawn), "the last have what the first did not need"


def test_many_experts_have_no_columns_but_a_grid(found):
    names = [f"e{i}" for i in range(heatmaps.COLUMNS + 1)]
    tasks = {t: [[1 / len(names)] * len(names)] for t in "ab"}
    one = heatmaps.routings(found(routing=routing(tasks, names)))[0]
    assert one.table is not None and one.table.rows == ["a", "b"] and one.table.columns == names


def test_similarity_may_have_an_expert_of_zeros(found):
    one = heatmaps.similarities(found(similarity={"experts": ["a", "b"], "cosine": [[1.0, float("nan")], [0.3, 1.0]]}))[
        0
    ]
    assert one.cosine == [[1.0, None], [0.3, 1.0]] and one.top == 0.3 and one.grid is None


def test_many_experts_are_a_grid(found):
    names = [f"e{i}" for i in range(30)]
    one = heatmaps.similarities(found(similarity={"experts": names, "cosine": [[0.5] * 30] * 30}))[0]
    assert one.grid is not None and json.loads(one.grid.data)["columns"] == names


def test_what_has_not_the_shape_is_named(found):
    with pytest.raises(Corrupt, match=r"routing\.json: router 'arrow'"):
        heatmaps.routings(found(routing=routing({"t": [[1.0]]})))
    with pytest.raises(Corrupt, match=r"routing\.json: router 'arrow'"):
        heatmaps.routings(found(routing=routing({"t": [[1.0, 0.0]]}, heard={"t": [[1.0]]}, cv={"t": [0.0]})))
    with pytest.raises(Corrupt, match=r"routing\.json: router 'arrow'"):
        heatmaps.routings(found(routing=routing({}, tokens=[{"task": "t", "text": ["a"], "chosen": ["2"]}])))
    with pytest.raises(Corrupt, match=r"similarity\.json"):
        heatmaps.similarities(found(similarity={"experts": ["a"], "cosine": [[1.0, 0.0]]}))
    with pytest.raises(Corrupt, match=r"routing\.json is not an object"):
        found(routing=[1])
