import pytest

from yosegi import tasks
from yosegi.errors import Invalid, UnknownName

SUBJECTS = ("anatomy", "law", "zoology")


def row(subject, i, error="ok"):
    return {
        "id": f"{subject}/{i}",
        "question": f"{subject} {i}?",
        "choices": ["w", "x", "y", "z"],
        "answer_index": i % 4,
        "subject": subject,
        "error_type": error,
    }


@pytest.fixture
def task(write, monkeypatch, tmp_path):
    monkeypatch.setenv("YOSEGI_DATA", str(tmp_path))
    write(
        "knowledge_en/mmlu_redux_test.jsonl.gz",
        [row(s, i, "ok" if i else "wrong groundtruth") for s in SUBJECTS for i in range(5)],
    )
    asked = [row(s, i) for s in SUBJECTS for i in range(5, 9)] + [{**row("law", 0), "id": "again"}]
    write("knowledge_en/mmlu_val.jsonl", asked)
    return tasks.load("mmlu")


def test_any_beginning_has_every_subject(task):
    examples = task.examples("test")
    assert len(examples) == 15
    for turn in range(5):
        assert {e.meta["subject"] for e in examples[3 * turn : 3 * turn + 3]} == set(SUBJECTS)


def test_one_subject_with_examples_of_its_own(task):
    examples = tasks.load("mmlu/law/2shot").examples("test")
    assert len(examples) == 5 and {e.meta["subject"] for e in examples} == {"law"}
    assert all(e.prompt.count("Question: law") == 3 for e in examples)
    assert "anatomy" in type(task).parts()


def test_faulty_questions_count_in_one_metric_and_not_in_its_twin(task):
    scores = [task.score(e, e.target) for e in task.examples("test")]
    assert sum("letter_ok" in score.metrics for score in scores) == 12 and all(s.value == 1.0 for s in scores)


def test_what_the_test_repeats_is_not_asked_in_the_validation(task):
    assert len(task.examples("validation")) == 12
    assert not {e.prompt for e in task.examples("validation")} & {e.prompt for e in task.examples("test")}


def test_what_there_is_not(task):
    with pytest.raises(Invalid, match="evaluation only"):
        task.examples("train")
    with pytest.raises(UnknownName, match="'anatomie'. Did you mean 'anatomy'"):
        tasks.load("mmlu/anatomie")


def test_rows_from_the_hub(local_hub):
    raw = {"question": "1+1?", "subject": "algebra", "choices": ["1", "2", "3", "4"], "answer": 1}
    local_hub(
        "cais/mmlu", "all", test=[raw, {**raw, "question": "1+2?", "subject": "law", "answer": 2}], validation=[raw]
    )
    task = tasks.load("mmlu/algebra")
    (example,) = task.examples("test")
    assert (example.answers, example.meta["subject"]) == (("B", "2"), "algebra")
    assert len(tasks.load("mmlu").examples("test")) == 2
    assert task.score(example, "B").metrics == {}, "the Hub's rows say nothing of errors"
    assert tasks.load("mmlu").examples("validation") == [], "the test repeats it"
    assert local_hub.revisions == {"cais/mmlu": "c30699e8356da336a370243923dbaf21066bb9fe"}


@pytest.mark.data
def test_real():
    task = tasks.load("mmlu")
    examples = task.examples("test")
    assert len(examples) == 4300 and len(task.examples("validation")) == 1154
    assert sum(e.meta.get("error_type") == "ok" for e in examples) == 4041
    for example in examples:
        right = example.meta["answer_index"]
        assert all(task.score(example, answer).value == 1.0 for answer in (example.target, *example.answers)), (
            example.id
        )
        assert task.score(example, "ABCD"[(right + 1) % 4]).value == 0.0, example.id
    assert len({e.meta["subject"] for e in examples[:43]}) == 43
