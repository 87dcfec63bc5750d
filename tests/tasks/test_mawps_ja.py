import pytest

from yosegi import tasks
from yosegi.tasks import Example


def test_prompt_and_target(write, monkeypatch, tmp_path):
    monkeypatch.setenv("YOSEGI_DATA", str(tmp_path))
    write("math_ja/mawps_ja_test.jsonl", [{"id": "0", "question": "2個と3個は？", "answer": "5", "solution": None}])
    shot = {"id": "s", "question": "猫は？", "answer": "11", "solution": "5+6=11。答えは11です。"}
    write("math_ja/mawps_ja_exemplars.jsonl", [shot])
    (example,) = tasks.load("mawps_ja/1shot").examples("test")
    assert example.prompt.endswith("\n\n問題：猫は？\n答え：5+6=11。答えは11です。\n\n問題：2個と3個は？\n答え：")
    assert example.target == "答えは5です。"
    assert tasks.load("mawps_ja").score(example, "答えは５個です。").value == 1.0


@pytest.mark.data
def test_real():
    task = tasks.load("mawps_ja/8shot")
    examples = task.examples("test")
    assert len(examples) == len({e.id for e in examples}) == 1000
    for example in examples:
        assert task.score(example, example.target).value == task.score(example, example.answers[0]).value == 1.0
        assert task.score(example, "答えは0.12345です。").value == 0.0
    assert examples[0].prompt.count("問題：") == 9
    for shot in task.shots():
        assert task.score(Example(shot["id"], "", "", task.answers(shot)), shot["solution"]).value == 1.0
