"""The suite goes on: interrupted, or with more questions."""

import dataclasses

import pytest

from yosegi import files, tasks
from yosegi.errors import Invalid
from yosegi.recipes import run_recipe, suite
from yosegi.run import Run
from yosegi.study import study
from yosegi.study.texts import INVENTED

SMALL = {
    "learnt": "skills/reverse,skills/add",
    "tasks": f"{INVENTED},skills/add,hellaswag",
    "steps": 1,
    "merges": "linear",
}


def test_more_questions_go_on_from_the_fewer(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("YOSEGI_DATA", str(tmp_path))
    trained, fleet = [], study.fleet
    monkeypatch.setattr(
        study, "fleet", lambda *given, **named: (trained.append(list(given[1])), fleet(*given, **named))
    )
    small = SMALL | {"smoke": True, "questions": 3}
    run = run_recipe("suite", tmp_path / "run", **small)
    first = run.results()
    assert "hellaswag" in capsys.readouterr().err, "what has no data is named"
    assert files.read_json(tmp_path / "run" / "config.json")["questions"] == 3
    again = run_recipe("suite", tmp_path / "run", **small | {"questions": 5})
    rows = again.results()
    assert rows[: len(first)] == first and trained == [["reverse s0", "add s0"]]
    grown = {(row["task"].rpartition("/")[2], row["n"]) for row in rows[len(first) :]}
    assert grown == {("choices", 5), ("add", 2)}, "two fifths of them are written"
    written = {row["model"] for row in rows if row["task"] == "skills/add"}
    assert len(written) == 3 and {"base", "add"} < written, "base, the expert that learnt it, a router"
    findings = files.read_json(tmp_path / "run" / "findings.json")["findings"]
    assert findings[-1]["heading"] == "Left out" and "hellaswag" in findings[-1]["text"][0]
    with pytest.raises(Invalid, match="steps was 1, is 2"):
        run_recipe("suite", tmp_path / "run", **small | {"steps": 2})


def test_a_question_is_needed_and_a_task(tmp_path):
    with pytest.raises(Invalid, match="one question"):
        suite.main(dataclasses.replace(suite.SMOKE, questions=0), Run(tmp_path))
    with pytest.raises(Invalid, match="No task has data"):
        suite.main(dataclasses.replace(suite.SMOKE, tasks=("piqa",)), Run(tmp_path))


@pytest.mark.data
def test_all_that_has_data_here_is_asked(tmp_path):
    asked, left_out = suite._asked(suite.Config(), Run(tmp_path))
    names = {task.name for task in asked}
    assert {"arc_easy", "mmlu", "gsm8k", "humaneval", "terms/ja_railway_law/rank", *suite.LEARNT} <= names
    assert len(names) == len(asked) >= 30 and all(task.examples("test") for task in asked)
    assert "piqa" in left_out[0] and tasks.load("piqa").name not in names
