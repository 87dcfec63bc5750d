"""The rows behind the measurements, of every seed, task by task."""

import json

from yosegi.reporting.answers import answers, in_turn
from yosegi.reporting.read import read


def write(folder, rows, items):
    folder.mkdir(exist_ok=True)
    for name, scores in items.items():
        lines = [{"id": f"q{i}", "score": float(s)} for i, s in enumerate(scores)]
        (folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_seeds_models_and_the_base(tmp_path):
    rows = [
        {"model": model, "method": "base" if model == "base" else "expert", "task": "t", "metric": metric, "value": 0.5,
         "base": "b", "base_hash": "h", "seed": seed, "items": f"{model}{seed}", "chance": 0.25}
        for model, seed in (("base", 0), ("x", 0), ("x", 1)) for metric in ("accuracy", "logp")
    ]  # fmt: skip
    write(tmp_path / "r", rows, {"base0": "110", "x0": "011", "x1": "010"})
    (one,) = answers(read([tmp_path / "r"]), ["base", "x"])
    assert (one.task, one.base, one.chance, list(one.rows)) == ("t", "base", 0.25, ["base", "x"])
    assert one.ids("base", "x") == ["q0", "q1", "q2"]
    assert one.scores("x", one.ids("x")) == [[0, 1, 1], [0, 1, 0]] and one.mean("x", ["q2", "q1"]) == [0.5, 1]


def test_bases_against_each_other_have_no_reference(tmp_path):
    rows = [
        {"model": name, "method": "base", "task": "t", "metric": "accuracy", "value": value, "base": name, "base_hash": name,
         "seed": 0, "items": name}
        for name, value in (("small", 0.3), ("large", 0.6))
    ]  # fmt: skip
    write(tmp_path / "r", rows, {"small": "1000", "large": "1110"})
    found = read([tmp_path / "r"])
    assert found.bases == {} and next(answers(found, ["large", "small"])).base is None


def test_a_task_without_items_is_passed_over(tmp_path):
    write(tmp_path / "r", [{"model": "x", "task": "t", "metric": "m", "value": 1.0}], {})
    assert list(answers(read([tmp_path / "r"]), ["x"])) == []


def test_in_turn():
    assert in_turn([[1, 2, 3], [], [4, 5]]) == [1, 4, 2, 5, 3] and in_turn([]) == []
