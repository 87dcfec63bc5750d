import pytest

from yosegi import tasks
from yosegi.tasks.boolq import _from_hub


def test_true_and_false_are_yes_and_no(write, monkeypatch, tmp_path):
    monkeypatch.setenv("YOSEGI_DATA", str(tmp_path))
    rows = [
        {"id": f"boolq/test/{i}", "question": "is it?", "choices": ["false", "true"], "answer_index": i} for i in (0, 1)
    ]
    write("knowledge_en/boolq_test.jsonl", rows)
    no, yes = tasks.load("boolq").examples("test")
    assert (no.prompt, no.target, yes.target) == ("Question: is it?\nAnswer:", " no", " yes")
    assert tasks.load("boolq").candidates(yes)["choice"].texts == (" yes", " no")


def test_rows_of_the_hub():
    assert _from_hub({"question": "is it", "answer": True, "passage": "…"}) == {
        "question": "is it?", "choices": ["no", "yes"], "answer_index": 1,
    }  # fmt: skip


@pytest.mark.data
def test_real(check):
    check(tasks.load("boolq"), {"train": 1300, "validation": 150, "test": 1200})
