"""`yosegi eval`: the general tasks beside those asked for (--forgetting), and several bases."""

import json

import pytest

from yosegi import files, tasks

EVAL = ("eval", "--task", "skills/copy", "--limit", 4, "--run", "r")
TABLES = ("skills/mul", "skills/capital", "skills/unit", "skills/binary", "skills/janum", "skills/ennum")


def test_forgetting_needs_no_task_and_says_what_was_kept(yosegi, tmp_path):
    code, out, err = yosegi("train", "--task", "skills/sort", "--library", "shelf", "--max-steps", 1, "--rank", 1)
    assert code == 0, err
    code, out, err = yosegi("eval", "--library", "shelf", "--arm", "sort", "--forgetting", "--limit", 8, "--run", "r")
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


@pytest.fixture
def asked(yosegi):
    """asked(words): what `eval` says of two experts."""
    words = "train --task skills/sort --task skills/copy --library shelf --max-steps 1 --rank 1"
    assert yosegi(*words.split())[0] == 0

    def ask(words):
        code, out, err = yosegi("eval", "--library", "shelf", "--run", "r", "--json", *words.split())
        assert code == 0, err
        return json.loads(out)

    return ask


def test_a_general_task_that_is_named_is_asked_as_a_named_one(asked, monkeypatch, tmp_path):
    monkeypatch.setattr("yosegi.evaluation.forgetting.MOST", 3)
    rows = asked("--arm uniform --task skills/mul --forgetting")
    n = {row["task"]: row["n"] for row in rows if row["metric"] != "logp"}
    assert n.pop("skills/mul") == len(tasks.load("skills/mul").examples("test")) > 3 and set(n.values()) == {3}
    assert all(row["general"] for row in rows)
    assert "skills/mul" in files.read_json(tmp_path / "r" / "routing.json")["routers"]["uniform"]["tasks"]


def test_an_arm_is_called_as_it_is_written(asked):
    rows = [
        asked(f"--arm {arm} --task skills/copy --limit 2") for arm in ("arrow", "arrow{top_k=1}", "copy*.5+sort*.5")
    ]
    assert [{row["model"] for row in some} for some in rows] == [
        {"base", "arrow"}, {"base", "arrow{top_k=1}"}, {"base", "copy*0.5+sort*0.5"},
    ]  # fmt: skip


def test_without_arms_it_is_the_usual_ones(asked, yosegi):
    assert list(dict.fromkeys(row["model"] for row in asked("--task skills/copy --limit 2"))) == [
        "base", "copy", "sort", "uniform", "arrow",
    ]  # fmt: skip
    assert yosegi("library", "rm", "shelf", "sort")[0] == 0
    assert {row["model"] for row in asked("--task skills/copy --limit 2")} == {"base", "copy"}


def test_arms_from_a_file(asked, tmp_path):
    (tmp_path / "e.yaml").write_text("task: [skills/copy]\nlimit: 2\narm: ['uniform{ablate=each}', sort]\n")
    models = list(dict.fromkeys(row["model"] for row in asked("--config e.yaml")))
    assert models == ["base", "uniform", "uniform{ablate=[copy]}", "uniform{ablate=[sort]}", "sort"]


def test_routers_and_merges_have_the_originals_or_those_that_are_named(asked, yosegi, tmp_path):
    assert yosegi(*["merge", "--library", "shelf", "--name", "both"])[0] == 0
    arms = "--arm uniform --arm merge:svd --arm both --task skills/copy --limit 2"
    for more, experts, suffix in (("", ["copy", "sort"], ""), ("--experts sort,both", ["sort", "both"], "(sort,both)")):
        rows = {row["model"]: row for row in asked(f"{arms} {more}") if row["metric"] != "logp"}
        assert rows.keys() == {"base", "both", f"uniform{suffix}", f"merge:svd{suffix}"}
        routing = files.read_json(tmp_path / "r" / "routing.json")
        assert routing["routers"][f"uniform{suffix}"].get("experts", routing["experts"]) == experts


def test_types_are_of_questions_under_a_router(refused):
    assert "questions of a --task" in refused("eval", "--forgetting", "--type", "easy")
    assert "none of these arms has a router" in refused(*EVAL, "--type", "easy")


def test_nothing_to_ask(refused):
    assert "--task" in refused("eval") and "--forgetting" in refused("eval")


@pytest.fixture
def names(tmp_path):
    """A second name for `nano`, and one that cannot be loaded."""
    from yosegi.bases import locate

    (tmp_path / "again").symlink_to(locate("nano"))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text('{"model_type": "llama"}')


def test_bases_are_compared(yosegi, names, tmp_path):
    code, out, err = yosegi(*EVAL, "--base", "nano", "--base", "again")
    assert code == 0 and not err and "cannot be told from" in out and "no finding" in out
    rows = files.read_jsonl(tmp_path / "r" / "results.jsonl")
    assert [row["model"] for row in rows if row["metric"] != "logp"] == ["nano", "again"]
    (tmp_path / "bases.txt").write_text("# two\nnano\n\nagain  # the same\nbroken\n")
    code, out, err = yosegi(*EVAL, "--bases", "bases.txt", "--json")
    assert code == 1 and "broken is left out" in err and "1 of 3 bases were not measured" in err
    assert sorted(row["model"] for row in json.loads(out)) == ["again", "again", "nano", "nano"]
    assert files.read_jsonl(tmp_path / "r" / "results.jsonl") == rows, "nothing is measured twice"
    assert yosegi("report", "r")[0] == 0
    page = (tmp_path / "r" / "report.html").read_text(encoding="utf-8")
    assert "Which base to begin with" in page and "Not measured: 1" in page and "do not tell" in page


def test_bad_input(refused, tmp_path):
    assert "--library is the folder" in refused(*EVAL, "--arm", "arrow")
    assert "--split: 'tset' was given. Did you mean 'test'" in refused(*EVAL, "--split", "tset")
    assert "no file" in refused(*EVAL, "--bases", "none.txt")
    (tmp_path / "empty.txt").write_text("# none\n")
    assert "names no base" in refused(*EVAL, "--bases", "empty.txt")
    assert "named twice" in refused(*EVAL, "--base", "nano", "--base", "nano")
    assert "one --base" in refused(*EVAL, "--base", "nano", "--base", "smollm2", "--library", "x")
