import pytest

from yosegi import tasks
from yosegi.errors import UnknownName


@pytest.fixture
def task(write, monkeypatch, tmp_path):
    monkeypatch.setenv("YOSEGI_DATA", str(tmp_path))
    rows = [
        {"id": f"{name}/{i}", "task": name, "input": f"{name} {i}?", "outputs": ["(A)"]}
        for name in ("dates", "words")
        for i in range(3)
    ]
    write("instruct/bbh_test.jsonl", rows)
    text = "canary GUID 26b5\n-----\nDo it.\n\nQ: x?\nA: Let's think step by step. So the answer is (B)."
    write("instruct/bbh_cot_prompts.jsonl", [{"task": name, "text": text} for name in ("dates", "words")])
    return tasks.load("bbh")


def test_the_authors_examples_stand_before_the_question_without_the_canary(task):
    example = task.examples("test")[0]
    assert example.prompt.startswith("Do it.\n\nQ: x?\nA:") and "canary" not in example.prompt
    assert example.prompt.endswith("?\nA: Let's think step by step.")
    assert {e.meta["subject"] for e in task.examples("test")[:2]} == {"dates", "words"}
    assert {e.meta["subject"] for e in tasks.load("bbh/words").examples("test")} == {"words"}
    with pytest.raises(UnknownName, match="'word'. Did you mean 'words'"):
        tasks.load("bbh/word")


def test_what_is_announced_last_is_the_answer(task):
    example = task.examples("test")[0]
    said = {
        "So the answer is (A).": 1.0,
        "The answer is (B). No, the answer is (a)": 1.0,
        "(A)": 1.0,
        "answer is (A) or (B).": 0.0,
        "": 0.0,
    }
    assert {text: task.score(example, text).value for text in said} == said
