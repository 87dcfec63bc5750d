import pytest

from yosegi import tasks
from yosegi.errors import Invalid
from yosegi.tasks import Example


@pytest.fixture
def task(write, monkeypatch, tmp_path):
    monkeypatch.setenv("YOSEGI_DATA", str(tmp_path))
    rows = [
        {"id": f"m{i}", "question": f"{i} and 2 ?", "answer": str(i + 2), "subset": ("addsub", "singleop")[i % 2]}
        for i in range(6)
    ]
    write("math_en/mawps_test.jsonl", rows)
    return tasks.load("mawps")


def test_prompt_target_and_parts(task):
    example = task.examples("test")[1]
    assert example.prompt.endswith("\n\nQuestion: 1 and 2 ?\nAnswer:") and example.target == " The answer is 3."
    assert [e.id for e in tasks.load("mawps/addsub").examples("test")] == ["m0", "m2", "m4"]
    assert task.score(example, "1 + 2 = 3 apples").value == 1.0 and task.score(example, "4").value == 0.0
    with pytest.raises(Invalid, match="No split 'train'"):
        task.examples("train")


def test_worked_examples_end_with_their_answer(task):
    shots = task.shots()
    assert len(shots) == 4
    for shot in shots:
        example = Example(shot["id"], shot["question"], task.target(shot), task.answers(shot))
        assert task.score(example, example.target).value == 1.0 and float(shot["answer"]) > 0
    assert tasks.load("mawps/4shot").examples("test")[0].prompt.count("Question:") == 5


def test_rows_from_the_hub(local_hub):
    local_hub("MU-NLPC/Calc-mawps", "default", test=[{"question": "1 and 2 ?", "result": "3", "result_float": 3.0}])
    (example,) = tasks.load("mawps").examples("test")
    assert (example.id, example.answers) == ("mawps/test/0", ("3",))
    assert local_hub.revisions == {"MU-NLPC/Calc-mawps": "38c10053efeafd20ab6ff4e08c3ec17de26c19b7"}


@pytest.mark.data
def test_real():
    task = tasks.load("mawps")
    examples = task.examples("test")
    assert len(examples) == len({e.id for e in examples}) == 1981
    for example in examples:
        assert task.score(example, example.target).value == task.score(example, example.answers[0]).value == 1.0
        assert task.score(example, "0.12345").value == 0.0
    shots = {shot["question"] for shot in task.shots()}
    assert not any(shot in e.prompt for e in examples for shot in shots)
