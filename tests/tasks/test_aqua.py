import pytest

from yosegi import tasks

ROW = {"choices": ["1", "2", "3", "4", "5"], "answer_index": 2, "solution": "One and two are three. ANS: 3"}


@pytest.fixture
def task(write, monkeypatch, tmp_path):
    monkeypatch.setenv("YOSEGI_DATA", str(tmp_path))
    write("math_en/aqua_dev.jsonl", [{"id": f"d{i}", "question": f"{i}+2?", **ROW} for i in range(20)])
    write("math_en/aqua_test.jsonl", [{"id": "t0", "question": "1+2?", "answer": "C", **ROW, "choices": [*"abcde"]}])
    return tasks.load("aqua")


def test_the_reasoning_ends_with_the_letter(task, check):
    check(task, {"train": 16, "validation": 4, "test": 1})
    example = task.examples("train")[0]
    assert example.target == " One and two are three. ANS: 3\nThe answer is C."
    assert tasks.load("aqua/ja").examples("train")[0].target == "One and two are three. ANS: 3\n答えはCです。"
    assert task.score(example, "It is 2 or 3.\nThe answer is B.").answer == "B"


def test_rows_from_the_hub(local_hub):
    raw = {
        "question": "1+2?",
        "options": ["A)1", "B)3", "C)4", "D)5 (five)", "E)6"],
        "rationale": "Add.",
        "correct": "B",
    }
    local_hub("deepmind/aqua_rat", "raw", test=[raw], validation=[{**raw, "question": f"{i}?"} for i in range(10)])
    (example,) = tasks.load("aqua").examples("test")
    assert example.meta["choices"] == ["1", "3", "4", "5 (five)", "6"] and example.answers == ("B", "3")
    assert len(tasks.load("aqua/2shot").examples("train")) == 8
    assert local_hub.revisions == {"deepmind/aqua_rat": "33301c6a050c96af81f63cad5562cb5363e88971"}


@pytest.mark.data
def test_real(check):
    task = tasks.load("aqua")
    check(task, {"train": 204, "validation": 50, "test": 254})
    for example in task.examples("test"):
        right = example.meta["answer_index"]
        assert all(task.score(example, answer).value == 1.0 for answer in example.answers)
        assert task.score(example, f"The answer is {'ABCDE'[(right + 1) % 5]}.").value == 0.0
