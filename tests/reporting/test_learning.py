import json

from yosegi.reporting.learning import learning
from yosegi.reporting.page import page
from yosegi.reporting.read import read


def write(folder, rows):
    folder.mkdir(exist_ok=True)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


ROWS = [
    {"step": s, "stage": "sft", "expert": name, "loss": 1.0, "load_cv": cv / s, "entropy": 1.0, "balance": 0.1}
    for name, cv in (("even", 0.1), ("free", 2.0))
    for s in (1, 2)
]


def test_a_chart_a_quantity_and_a_line_a_training(tmp_path):
    found = learning(read([write(tmp_path / "r", ROWS)]))
    assert [one.title for one in found] == ["Imbalance of the load", "Entropy of a token's weights"]
    assert [text for _, text in found[0].plot.legend] == ["even", "free"]
    assert "free 2.000 to 1.000" in found[0].plot.says and found[0].plot.x == "step"


def test_of_several_runs_each_is_named(tmp_path):
    runs = [write(tmp_path / name, ROWS[:2]) for name in ("one", "two")]
    assert [text for _, text in learning(read(runs))[0].plot.legend] == ["one · even", "two · even"]


def test_what_no_training_tells_is_not_drawn(tmp_path):
    plain = write(tmp_path / "r", [{"step": 1, "stage": "sft", "expert": "a", "loss": 1.0, "load_cv": None}])
    assert learning(read([plain])) == []
    assert "How the routers learnt" not in page(read([plain]))
    assert "How the routers learnt" in page(read([write(tmp_path / "s", ROWS)]))
