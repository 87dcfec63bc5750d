import pytest

from yosegi import tasks
from yosegi.errors import Invalid, UnknownName
from yosegi.tasks.readers import equal


def row(i, **more):
    return {
        "id": f"math/{i}",
        "question": f"Solve $x = {i}/2$.",
        "answer": f"\\frac{{{i}}}{{2}}",
        "solution": f"We see $x=\\boxed{{\\frac{{{i}}}{{2}}}}$.",
        "level": f"Level {i % 5 + 1}",
        "subject": "Counting & Probability" if i % 2 else "Algebra",
        **more,
    }


@pytest.fixture
def task(write, monkeypatch, tmp_path):
    monkeypatch.setenv("YOSEGI_DATA", str(tmp_path))
    write("math_en/math_train.jsonl.gz", [row(i) for i in range(1, 31, 2)])
    write("math_en/math500_test.jsonl", [row(i) for i in range(31, 41, 2)])
    return tasks.load("math")


def test_prompt_target_and_splits(task, check):
    check(task, {"train": 12, "validation": 3, "test": 5})
    example = task.examples("test")[0]
    assert example.prompt == (
        "Solve the problem. Put the final answer in \\boxed{}.\n\nQuestion: Solve $x = 31/2$.\nAnswer:"
    )
    assert example.target == " We see $x=\\boxed{\\frac{31}{2}}$."
    assert example.meta == {"level": "Level 2", "subject": "Counting & Probability"}


def test_levels_subjects_languages_and_shots(task):
    assert [e.meta["level"] for e in tasks.load("math/level3").examples("test")] == ["Level 3"]
    assert len(tasks.load("math/counting_and_probability").examples("test")) == 5
    assert tasks.load("math/algebra").examples("test") == []
    (example,) = tasks.load("math/level3/ja/2shot").examples("test")
    assert example.prompt.startswith("問題を解いてください。") and example.prompt.count("問題：") == 3
    for example in tasks.load("math/8shot").examples("train"):
        question = example.prompt.rpartition("Question: ")[2]
        assert example.prompt.count(question.removesuffix("\nAnswer:")) == 1, "never its own worked example"
    with pytest.raises(UnknownName, match="'level6'"):
        tasks.load("math/level6")
    with pytest.raises(Invalid, match="9shot"):
        tasks.load("math/9shot")


@pytest.mark.parametrize(
    ("prediction", "value", "parsed"),
    [
        ("\\boxed{15.5}", 1.0, True),
        ("答えは $\\frac{62}{4}$ です。", 1.0, True),
        ("答えは２分の３１です。", 1.0, True),
        ("\\boxed{16}", 0.0, True),
        ("I do not know.", 0.0, False),
        ("", 0.0, False),
    ],
)
def test_an_answer_counts_however_it_is_written(task, prediction, value, parsed):
    score = task.score(task.examples("test")[0], prediction)
    assert (score.value, score.parsed) == (value, parsed)


def test_many_at_once_are_each_as_one(task):
    examples = task.examples("test")
    predictions = ["", examples[1].target, "no", "\\boxed{0}", "19.5"]
    assert task.scores(examples, predictions) == [task.score(e, p) for e, p in zip(examples, predictions, strict=True)]
    assert [s.value for s in task.scores(examples, predictions)] == [0.0, 1.0, 0.0, 0.0, 1.0]


def test_rows_from_the_hub(local_hub):
    raw = {"problem": "1+1?", "solution": "It is $\\boxed{2}$.", "level": "Level 1"}
    local_hub("HuggingFaceH4/MATH-500", None, test=[{**raw, "level": 4, "answer": "2", "subject": "Algebra"}])
    (example,) = tasks.load("math/level4").examples("test")
    assert example.answers == ("2",) and example.id == "math500/test/0"
    for subject in (
        "algebra",
        "counting_and_probability",
        "geometry",
        "intermediate_algebra",
        "number_theory",
        "prealgebra",
        "precalculus",
    ):
        more = [{**raw, "problem": f"{subject} {i}", "type": subject.replace("_", " ").title()} for i in range(3)]
        local_hub("EleutherAI/hendrycks_math", subject, train=more)
    found = [tasks.load("math").examples(split) for split in ("train", "validation")]
    assert [len(examples) for examples in found] == [17, 4] and found[0][0].answers == ("2",)
    assert local_hub.revisions["EleutherAI/hendrycks_math"] == "21a5633873b6a120296cce3e2df9d5550074f4a3"


@pytest.mark.data
def test_real(check):
    task = tasks.load("math")
    check(task, {"train": 2600, "validation": 200, "test": 375})
    for split in ("train", "validation", "test"):
        examples = task.examples(split)
        assert not [e.id for e in examples if any(stop in e.target for stop in task.stop)]
        right = task.scores(examples, [e.answers[0] for e in examples])
        wrong = task.scores(examples, [r"\boxed{0.123456}"] * len(examples))
        assert all(s.value == 1.0 for s in right) and not any(s.value for s in wrong)


@pytest.mark.data
@pytest.mark.slow
def test_every_real_answer_is_understood_and_not_only_spelt_alike():
    answers = [example.answers[0] for example in tasks.load("math").examples("test")]
    assert [a for a in answers if not equal.ALGEBRA.same(a, a)] == []
    others = zip(answers, answers[7:] + answers[:7], strict=True)
    alike = [(a, b) for a, b in others if equal.spelt(a) != equal.spelt(b) and equal.same(a, b)]
    assert len(alike) <= 3, alike
