"""`yosegi eval --forgetting`: the general tasks beside those asked for."""

import json

from yosegi import tasks

TABLES = ("skills/mul", "skills/capital", "skills/unit", "skills/binary", "skills/janum", "skills/ennum")


def test_forgetting_needs_no_task_and_says_what_was_kept(yosegi, tmp_path):
    code, out, err = yosegi("train", "--task", "skills/sort", "--library", "shelf", "--max-steps", 1, "--rank", 1)
    assert code == 0, err
    code, out, err = yosegi(
        "eval", "--library", "shelf", "--expert", "sort", "--forgetting", "--limit", 8, "--run", "r"
    )
    assert code == 0, err
    assert "General knowledge, sort: 0.000 [−0." in out and "no loss shown; at most 0." in out
    rows = [json.loads(line) for line in (tmp_path / "r" / "results.jsonl").read_text().splitlines()]
    assert {row["task"] for row in rows} == set(TABLES) and all(row["general"] for row in rows)
    assert json.loads((tmp_path / "r" / "config.json").read_text())["general"] == list(TABLES)
    assert yosegi("report", "r")[0] == 0 and 'id="forgetting"' in (tmp_path / "r" / "report.html").read_text()


def test_a_task_that_is_asked_for_anyway_is_measured_once(yosegi):
    asked = ("--task", "skills/mul", "--task", "skills/add", "--forgetting", "--limit", 2, "--run", "r", "--json")
    code, out, err = yosegi("eval", *asked)
    assert code == 0, err
    rows = [row for row in json.loads(out) if row["metric"] == tasks.load("skills/mul").metric]
    assert sorted(row["task"] for row in rows) == sorted([*TABLES, "skills/add"])
    assert [row["task"] for row in rows if not row.get("general")] == ["skills/add"]


def test_nothing_to_ask(refused):
    assert "--task" in refused("eval") and "--forgetting" in refused("eval")
