import pytest

from yosegi import tasks


@pytest.fixture
def task(write, monkeypatch, tmp_path):
    monkeypatch.setenv("YOSEGI_DATA", str(tmp_path))
    rows = [{"id": f"n{i}", "question": f"{i}の次は？", "answers": [f"{i + 1}", f"{i + 1}です"]} for i in range(60)]
    write("knowledge_ja/niilc_dev.jsonl", rows)
    return tasks.load("niilc")


def test_prompt_target_and_score(task, check):
    check(task, {"train": 48, "validation": 6, "test": 6})
    example = task.examples("test")[0]
    number = int(example.id[1:])
    assert (example.prompt, example.target) == (f"質問:{number}の次は？\n回答:", f"{number + 1}")
    assert task.score(example, f"{number + 1}です。").value == 1.0
    wrong = task.score(example, "知らない")
    assert (wrong.value, wrong.parsed, wrong.metrics) == (0.0, True, {"f1": 0.0})


@pytest.mark.data
def test_real(check):
    check(tasks.load("niilc"), {"train": 636, "validation": 80, "test": 78})
