import pytest

from yosegi import tasks
from yosegi.errors import Invalid, NoData, UnknownName
from yosegi.sandbox import Job, run
from yosegi.tasks import gsm_hard

CODE = 'def solution():\n    """How many?"""\n    {lines}\n    return result\n'


@pytest.fixture
def rows(write, monkeypatch, tmp_path):
    monkeypatch.setenv("YOSEGI_DATA", str(tmp_path))
    given = [
        ("-9867630", "result = (16 - 3 - 4933828) * 2"),
        ("0.5", "result = 1 / 2"),
        ("75455064000", "result = 75455064000.0"),
    ]
    made = [
        {"id": f"gsm_hard/test/{i}", "question": f"How many? {i}", "answer": answer, "code": CODE.format(lines=lines)}
        for i, (answer, lines) in enumerate(given)
    ]
    write("math_en/gsm_hard_test.jsonl", made)
    return tasks.load("gsm_hard")


def test_prompt_and_target(rows):
    example = rows.examples("test")[0]
    assert (
        example.prompt
        == "Question: How many? 0\nWrite a Python function solution() that returns the answer.\n\n```python"
    )
    assert example.target == "\ndef solution():\n    result = (16 - 3 - 4933828) * 2\n    return result"
    assert example.meta == {"answer": "-9867630"}


def returns(value):
    return f"\ndef solution():\n    return {value}"


@pytest.mark.parametrize(
    ("number", "prediction", "value", "answer"),
    [
        (0, returns("-9867630"), 1.0, "-9867630"),
        (0, returns("-9867630.0004"), 1.0, "-9867630.0004"),
        (0, returns("-9867627"), 0.0, "-9867627"),  # three eggs forgotten: 3e-7 of the number
        (0, returns("-9867630.01"), 0.0, "-9867630.01"),
        (0, returns("'-9867630'"), 1.0, "-9867630"),
        (0, returns("9867630"), 0.0, "9867630"),
        (0, "-9867630", 0.0, None),  # no program
        (0, "print(-9867630)", 0.0, None),
        (0, "solution = lambda: -9867630", 1.0, "-9867630"),
        (0, "\ndef solution():\n    x = (16 - 3 -", 0.0, None),  # truncated
        (0, returns("'about -9867630'"), 0.0, None),
        (0, returns("True"), 0.0, None),
        (0, returns("[-9867630]"), 0.0, None),
        (0, returns("float('nan')"), 0.0, None),
        (0, returns("10**400"), 0.0, None),
        (0, returns("'inf'"), 0.0, None),
        (0, returns("'nan'"), 0.0, None),
        (0, returns("open('/etc/passwd')"), 0.0, None),
        (1, "from fractions import Fraction\ndef solution():\n    return Fraction(1, 2)", 1.0, "0.5"),
        (1, returns(".5005"), 1.0, "0.5005"),
        (1, returns(".502"), 0.0, "0.502"),
        (2, returns("75455064000.05"), 1.0, "75455064000.05"),
        (2, returns("75455064003"), 0.0, "75455064003"),
    ],
)
def test_what_the_program_returns_is_compared(rows, number, prediction, value, answer):
    score = rows.score(rows.examples("test")[number], prediction)
    assert (score.value, score.answer) == (value, answer)


def test_the_worked_examples_work(rows):
    few = tasks.load("gsm_hard/few_shot").examples("test")[0]
    plain = rows.examples("test")[0]
    assert few.prompt.endswith(plain.prompt) and few.prompt.count("```python\ndef solution") == len(gsm_hard.SHOTS) == 4
    values = [outcome.value for outcome in run([Job(code, ask="solution()") for _, code in gsm_hard.SHOTS])]
    assert values == [49, 540, pytest.approx(64.8), 11]


def test_there_is_nothing_to_train_on(rows):
    with pytest.raises(Invalid, match="No split 'train'; there are: test"):
        rows.examples("train")
    with pytest.raises(UnknownName, match="'few_shots'. Did you mean 'few_shot'"):
        tasks.load("gsm_hard/few_shots")


def test_without_data_it_says_what_to_fetch(nowhere):
    with pytest.raises(NoData, match=r"GSM-Hard \(test\) is not here: set YOSEGI_DATA .* math_en/gsm_hard_test\.jsonl"):
        tasks.load("gsm_hard").examples("test")


@pytest.mark.data
def test_real():
    task = tasks.load("gsm_hard")
    examples = task.examples("test")
    assert len(examples) == 990
    assert all(score.value == 1.0 for score in task.scores(examples, [example.target for example in examples]))
    assert {e.id for e in examples}.isdisjoint(e.id for e in tasks.load("gsm8k").examples("train"))
    trained = {e.prompt.split("\n")[0] for s in ("train", "validation") for e in tasks.load("gsm8k").examples(s)}
    assert trained.isdisjoint(example.prompt.split("\n")[0] for example in examples)
