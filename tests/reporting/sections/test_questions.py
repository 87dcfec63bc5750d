import json

import pytest

from yosegi.reporting.answers import answers
from yosegi.reporting.context import Context
from yosegi.reporting.read import read
from yosegi.reporting.sections import questions


@pytest.fixture
def ask(tmp_path):
    """`ask(base="110", x="101")`: what becomes of three questions."""

    def write(**scores):
        rows = []
        for model, marks in scores.items():
            name = f"{model}.jsonl"
            rows.append({"model": model, "task": "t", "metric": "accuracy", "value": 0.5, "base": "b", "items": name})
            lines = [
                {"id": f"q{i}", "prompt": f"p{i}", "target": "yes", "prediction": "yes" if float(s) == 1 else f"no {i % 2}",
                 "score": float(s), "parsed": float(s) > 0}
                for i, s in enumerate(marks) if s != "-"
            ]  # fmt: skip
            (tmp_path / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
        (tmp_path / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        context = Context(read([tmp_path]), {"questions": []})
        for of_task in answers(context.results, list(scores)):
            context.digests["questions"].append(questions.digest(context, of_task))
        return questions.section(context)

    return write


def kinds(one):
    """The kinds of each model, question by question, as the page's script reads them."""
    return ["".join(item[3][i] for item in json.loads(one["texts"])["items"]) for i in range(len(one["strips"]))]


def test_kept_gained_lost_wrong(ask):
    one = ask(base="1100", x="1010")["maps"][0]
    assert [item[0] for item in json.loads(one["texts"])["items"]] == ["q0", "q1", "q2", "q3"]
    assert kinds(one) == ["kkww", "klgw"]
    assert one["strips"][1]["counts"] == {"kept": 1, "gained": 1, "lost": 1, "wrong": 1, "not asked": 0}
    assert one["strips"][1]["paths"] == {
        "kept": "M0 0.5h1",
        "lost": "M1 0.5h1",
        "gained": "M2 0.5h1",
        "wrong": "M3 0.5h1",
    }
    assert one["strips"][0]["paths"] == {"kept": "M0 0.5h2", "wrong": "M2 0.5h2"}


def test_what_the_base_has_right_stands_left_and_easy_before_hard(ask):
    one = ask(base="0101", x="1001", y="1010")["maps"][0]
    assert [item[0] for item in json.loads(one["texts"])["items"]] == ["q3", "q1", "q0", "q2"]


def test_without_a_base_there_is_right_and_wrong(ask):
    one = ask(x="110", y="010")["maps"][0]
    assert not one["has_base"] and kinds(one) == ["kkw", "kww"]


def test_a_question_that_a_model_was_not_asked_is_blank(ask):
    one = ask(base="11", x="1-")["maps"][0]
    assert kinds(one) == ["kk", "k-"] and one["strips"][1]["counts"]["not asked"] == 1
    assert "not asked" not in one["strips"][1]["paths"]


def test_equal_predictions_are_written_once(ask):
    texts = json.loads(ask(base="0", x="0", y="1")["maps"][0]["texts"])
    assert texts["items"][0][4] == ["no 0", 0, -1]


def test_fractions_are_right_from_a_half_and_the_page_can_say_so(ask):
    one = ask(base=["0.4", "0.5"], x=["0.9", "0.1"])["maps"][0]
    assert one["fractions"] and kinds(one) == ["kw", "lg"]


def test_what_is_too_much_is_thinned_and_said(ask, monkeypatch):
    monkeypatch.setattr(questions, "CELLS", 100)
    monkeypatch.setattr(questions, "TEXT", 2300)
    one = ask(base="10" * 60, x="01" * 60)["maps"][0]
    assert (one["questions"], one["drawn"], one["every"]) == (120, 40, 3)
    assert one["strips"][0]["counts"]["kept"] == 60  # of all
    assert len(one["texts"]) <= 2300
    monkeypatch.setattr(questions, "TEXT", 10)
    assert ask(base="10", x="01")["maps"][0]["texts"] == "null"


def test_more_tasks_than_can_be_drawn_are_counted(ask, monkeypatch):
    monkeypatch.setattr(questions, "MAPS", 0)
    asked = ask(base="10", x="01")
    assert asked["maps"] == [] and asked["left_out"] == 1
