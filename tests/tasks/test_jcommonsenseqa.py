import pytest

from yosegi import tasks


def rows(name, count):
    return [
        {
            "id": f"{name}/{i}",
            "question": f"{name}の{i}番目はどれ？",
            "choices": [f"{name}{j}" for j in range(i, i + 5)],
            "answer_index": i % 5,
        }
        for i in range(count)
    ]


def test_prompt_target_and_splits(write, monkeypatch, tmp_path, check):
    monkeypatch.setenv("YOSEGI_DATA", str(tmp_path))
    write("knowledge_ja/jcommonsenseqa_train.jsonl", rows("山", 50))
    write("knowledge_ja/jcommonsenseqa_valid.jsonl", rows("川", 7))
    task = tasks.load("jcommonsenseqa")
    check(task, {"train": 40, "validation": 10, "test": 7})
    example = task.examples("test")[1]
    assert example.prompt.endswith("\n\n問題：川の1番目はどれ？\nA. 川1\nB. 川2\nC. 川3\nD. 川4\nE. 川5\n答え：")
    assert (example.target, example.answers) == ("B", ("B", "川2"))
    shown = tasks.load("jcommonsenseqa/3shot").examples("test")[0].prompt
    assert shown.count("問題：山の") == 3, "worked examples are training questions"


@pytest.mark.data
def test_real(check):
    task = tasks.load("jcommonsenseqa")
    check(task, {"train": 3200, "validation": 300, "test": 1119})
    for example in task.examples("test"):
        right = example.meta["answer_index"]
        assert all(task.score(example, answer).value == 1.0 for answer in example.answers)
        assert task.score(example, "ABCDE"[(right + 1) % 5]).value == 0.0
