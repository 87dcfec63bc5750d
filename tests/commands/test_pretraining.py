"""`yosegi train --objective lm --pack`: one expert or a fleet read whole texts, and are measured on others meanwhile."""

import json

import pytest

from yosegi import files

TRAIN = ("train", "--library", "shelf", "--run", "r", "--max-steps", 4, "--per-device-train-batch-size", 2)
READ = (*TRAIN, "--objective", "lm", "--pack", 32, "--eval-steps", 2)


@pytest.fixture
def texts(tmp_path):
    for name, words in (("law", "the rail is long "), ("food", "cook the rice well ")):
        rows = [{"text": words * n, "split": "valid" if n > 9 else "train"} for n in range(1, 12)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return "file/law.jsonl", "file/food.jsonl"


@pytest.mark.parametrize("fleet", [False, True], ids=["one", "fleet"])
def test_it_reads_and_is_measured_and_reported(yosegi, texts, tmp_path, fleet):
    law, food = texts
    tasks = ("--task", law, *(("--task", food) if fleet else ()), "--eval-task", law, "--eval-task", food)
    code, out, err = yosegi(*READ, *tasks)
    assert code == 0, err
    assert "law: rank 8, 9 documents (765 characters) in" in out
    card = files.read_json(tmp_path / "shelf" / "law" / "expert.json")
    assert card["training"]["objective"] == "lm" and card["training"]["pack"] == 32 and card["metrics"]["kept_apart"]
    assert card["metrics"]["tokens_in_rows"] > 32 * (card["metrics"]["rows"] - 1)
    rows = files.read_jsonl(tmp_path / "r" / "metrics.jsonl")
    seen = [(row["step"], row["validation"]) for row in rows if row["expert"] == "law" and "validation" in row]
    assert seen == [(step, task) for step in (0, 2, 4) for task in texts]
    assert yosegi(*READ, *tasks)[0] == 0 and files.read_jsonl(tmp_path / "r" / "metrics.jsonl") == rows, (
        "nothing left to do"
    )
    assert yosegi("report", "r")[0] == 0 and "Learnt and forgotten" in (tmp_path / "r" / "report.html").read_text()
