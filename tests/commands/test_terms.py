"""`yosegi terms build`, a person who checks, and `yosegi eval` on what came of it."""

import json

import pytest

from yosegi import files

TEXT = "\n\n".join(
    f'"thing{i} of sort{i % 3}" means the object that has number {i} on it. It is small.' for i in range(8)
)


@pytest.fixture
def corpus(tmp_path):
    (tmp_path / "law.txt").write_text(TEXT, encoding="utf-8")
    return tmp_path


def test_drafts_are_written_and_never_replaced_by_themselves(yosegi, refused, corpus):
    code, out, _ = yosegi("terms", "build", "law.txt", "--out", "quiz.jsonl", "--choices", 4, "--shots", 1)
    assert code == 0 and "8 drafts (7 questions, 1 examples) in quiz.jsonl" in out and "terms/quiz.jsonl/rank" in out
    rows = files.read_jsonl(corpus / "quiz.jsonl")
    assert all(row["checked"] is False and row["answer"] in row["evidence"]["sentence"] for row in rows)
    assert "--overwrite" in refused("terms", "build", "law.txt", "--out", "quiz.jsonl")
    code, out, _ = yosegi("terms", "build", "law.txt", "--out", "quiz.jsonl", "--overwrite", "--json")
    assert code == 0 and json.loads(out)["drafts"] == 8


def test_only_what_training_sees_is_asked(yosegi, refused, corpus):
    rows = [{"text": text, "split": "train" if n < 5 else "valid"} for n, text in enumerate(TEXT.split("\n\n"))]
    (corpus / "law.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert json.loads(yosegi("terms", "build", "law.jsonl", "--json")[1])["drafts"] == 5
    (corpus / "law.jsonl").write_text(json.dumps(rows[0]) + "\n")
    assert "1 definition sentences found" in refused("terms", "build", "law.jsonl", "--out", "b.jsonl")
    (corpus / "law.jsonl").write_text(json.dumps({"prompt": "a"}) + "\n")
    assert "has no text" in refused("terms", "build", "law.jsonl", "--out", "b.jsonl")
    assert "no file" in refused("terms", "build", "none.txt", "--out", "b.jsonl")
    assert ".jsonl" in refused("terms", "build", "law.txt", "--out", "b.json")
    assert not (corpus / "b.jsonl").exists()


@pytest.mark.slow
def test_evaluation_says_that_nobody_has_checked_until_somebody_has(yosegi, corpus):
    assert yosegi("terms", "build", "law.txt", "--out", "quiz.jsonl", "--choices", 4)[0] == 0
    ask = ("eval", "--task", "terms/quiz.jsonl", "--task", "terms/quiz.jsonl/rank", "--run", "r")
    code, out, err = yosegi(*ask)
    assert code == 0 and "7 of 7 questions are drafts that nobody has checked" in err and "chance 0.52" in out
    assert yosegi("report", "r")[0] == 0
    page = (corpus / "r" / "report.html").read_text(encoding="utf-8")
    assert "terms/quiz.jsonl: 7 of 7 questions are drafts" in page and "chance 0.521" in page
    rows = [{**row, "checked": True} for row in files.read_jsonl(corpus / "quiz.jsonl")]
    (corpus / "quiz.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert "drafts" not in yosegi(*ask)[2]


@pytest.mark.data
def test_the_real_corpus(yosegi, tmp_path):
    code, out, _ = yosegi("terms", "build", "ja_railway_law", "--json")
    assert code == 0 and json.loads(out)["drafts"] > 60 and "新幹線鉄道" in json.loads(out)["terms"]
