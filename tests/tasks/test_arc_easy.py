import pytest

from yosegi import tasks
from yosegi.tasks import LogProb
from yosegi.tasks.readers.choices import labelled


def row(i, question="Which is hot?"):
    return {"id": f"arc-easy/{i}", "question": question, "choices": ["ice", "the sun", "snow"], "answer_index": 1}


@pytest.fixture
def data(write, monkeypatch, tmp_path):
    monkeypatch.setenv("YOSEGI_DATA", str(tmp_path))
    write(
        "knowledge_en/arc_easy_train.jsonl", [row(f"train/{i}", f"Question {i}?") for i in range(20)] + [row("train/x")]
    )
    write("knowledge_en/arc_easy_test.jsonl", [row("test/0")])


def test_the_choices_follow_the_bare_question(data):
    task = tasks.load("arc_easy")
    (example,) = task.examples("test")
    assert (example.prompt, example.target) == ("Question: Which is hot?\nAnswer:", " the sun")
    asked = task.candidates(example)
    assert asked["choice"] == tasks.Candidates((" the sun", " ice", " snow"), example.prompt), "the right one first"
    assert asked["letter"].texts == (" B", " A", " C")
    assert asked["letter"].prompt.endswith("Question: Which is hot?\nA. ice\nB. the sun\nC. snow\nAnswer:")
    assert not task.generates and task.chance(example) == pytest.approx(1 / 3)


def test_three_measures_in_one_run(data):
    task = tasks.load("arc_easy/1shot")
    (example,) = task.examples("test")
    sums = {"choice": [-6.0, -5.0, -5.5], "letter": [-1.0, -2.0, -1.0]}
    score = task.score_logprobs(example, {name: [LogProb(v, 1) for v in values] for name, values in sums.items()})
    assert (score.value, score.answer) == (0.0, "A"), "the shortest is likeliest"
    assert score.metrics == {"acc_norm": 1.0, "letter": 0.5}


def test_what_the_test_asks_is_not_learnt(data):
    task = tasks.load("arc_easy")
    learnt = [example.prompt for split in ("train", "validation") for example in task.examples(split)]
    assert len(learnt) == 20 and not any("Which is hot?" in prompt for prompt in learnt)


def test_rows_of_the_hub():
    upstream = {"id": "Q_1", "question": "?", "choices": {"text": ["a", "b"], "label": ["1", "2"]}, "answerKey": "2"}
    assert labelled(upstream) == {"id": "Q_1", "question": "?", "choices": ["a", "b"], "answer_index": 1}


@pytest.mark.data
def test_real(check):
    check(tasks.load("arc_easy"), {"train": 1300, "validation": 100, "test": 1700})
