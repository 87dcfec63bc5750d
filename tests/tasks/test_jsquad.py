import pytest

from yosegi import tasks


def row(id, title, question="どこか。"):
    return {
        "id": id,
        "title": title,
        "question": question,
        "context": f"{title} [SEP] {title}は東にある。",
        "answers": ["東", "東にある"],
    }


@pytest.fixture
def task(write, monkeypatch, tmp_path):
    monkeypatch.setenv("YOSEGI_DATA", str(tmp_path))
    write("knowledge_ja/jaquad_train.jsonl", [row("t0", "山"), row("t1", "梅雨")])
    write("knowledge_ja/jaquad_dev.jsonl", [row("v0", "川")])
    write("knowledge_ja/jsquad_valid.jsonl", [row("s0", "梅雨")])
    return tasks.load("jsquad")


def test_prompt_and_target(task):
    (example,) = task.examples("test")
    assert example.prompt == "梅雨\n梅雨は東にある。\n\n質問:どこか。\n回答:"
    assert (example.target, example.answers) == ("東", ("東", "東にある"))


def test_an_article_of_the_test_is_not_trained_on(task):
    assert [e.id for e in task.examples("train")] == ["t0"] and [e.id for e in task.examples("validation")] == ["v0"]


def test_exact_match_and_f1(task):
    (example,) = task.examples("test")
    assert task.score(example, "東。\n") == tasks.Score(1.0, "東", {"f1": 1.0})
    near = task.score(example, "東です")
    assert near.value == 0.0 and near.metrics["f1"] == pytest.approx(0.5)
    assert task.score(example, "「東」").value == 0.0, "JGLUE's script keeps quotes, full width and what is not 。"
    assert task.score(example, " 東。。") == tasks.Score(1.0, "東", {"f1": 1.0})
    assert task.score(example, "") == tasks.Score(0.0, None, {"f1": 0.0})


@pytest.mark.data
def test_real(check):
    task = tasks.load("jsquad")
    check(task, {"train": 600, "validation": 300, "test": 800})
    for split in ("train", "validation", "test"):
        assert not any("[SEP]" in example.prompt or "\n" in example.target for example in task.examples(split))
    assert all(answer in e.prompt for e in task.examples("test") for answer in e.answers)
