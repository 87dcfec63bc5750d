import pytest

from yosegi import tasks
from yosegi.errors import Invalid


def test_prompt_and_target(write, monkeypatch, tmp_path):
    monkeypatch.setenv("YOSEGI_DATA", str(tmp_path))
    rows = [
        {
            "id": f"{s}/{i}",
            "question": f"{s}{i}は？",
            "choices": ["東", "西", "南", "北"],
            "answer_index": i,
            "subject": s,
        }
        for s in ("a", "b")
        for i in range(4)
    ]
    write("knowledge_ja/jmmlu_test.jsonl", rows)
    (example, *_) = [e for e in tasks.load("jmmlu/b").examples("test") if e.id == "b/2"]
    assert example.prompt.endswith("\n\n問題：b2は？\nA. 東\nB. 西\nC. 南\nD. 北\n答え：")
    assert (example.target, example.answers) == ("C", ("C", "南"))
    assert len(tasks.load("jmmlu").examples("test")) == 8
    assert tasks.load("jmmlu/en").examples("test")[0].prompt.startswith("Choose the right answer.")
    with pytest.raises(Invalid, match="has no worked examples"):
        tasks.load("jmmlu/5shot")


@pytest.mark.data
def test_real():
    task = tasks.load("jmmlu")
    examples = task.examples("test")
    assert len(examples) == 3690
    for example in examples:
        right = example.meta["answer_index"]
        assert all(task.score(example, answer).value == 1.0 for answer in (example.target, *example.answers)), (
            example.id
        )
        assert task.score(example, "ABCD"[(right + 1) % 4]).value == 0.0, example.id
    assert len(tasks.load("jmmlu/japanese_history").examples("test")) == 90
