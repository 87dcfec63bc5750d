import pytest

from yosegi import tasks
from yosegi.errors import Invalid, NoData


def test_prompt_and_target(made_up):
    example = tasks.load("gsm8k").examples("train")[1]
    number = int(example.id.rpartition("/")[2])
    a, b = 1000 + number, number + 2
    assert example.prompt == f"Question: Ann has {a} apples and buys {b}. How many has she?\nAnswer:"
    assert example.target == f" She has {a}+{b} = {a + b} apples.\n#### {a + b}"
    assert example.answers == (str(a + b),)


def test_the_promises_hold(made_up, check):
    check(tasks.load("gsm8k"), {"train": 24, "validation": 6, "test": 1})


@pytest.mark.parametrize(
    ("prediction", "value", "answer"),
    [
        (" It is 7 + 2.\n#### 1,002", 1.0, "1002"),
        ("The answer is 1002.00 apples", 1.0, "1002"),
        ("#### 1003", 0.0, "1003"),
        ("I do not know", 0.0, None),
        ("", 0.0, None),
    ],
)
def test_the_final_number_is_scored(made_up, prediction, value, answer):
    task = tasks.load("gsm8k")
    score = task.score(task.examples("test")[0], prediction)
    assert (score.value, score.answer, score.parsed) == (value, answer, answer is not None)


def test_an_unknown_split_is_refused(made_up):
    with pytest.raises(Invalid, match="No split 'dev'; there are: train, validation, test"):
        tasks.load("gsm8k").examples("dev")


def test_without_data_it_says_what_to_fetch(nowhere):
    with pytest.raises(NoData, match=r"GSM8K \(test\) is not here and openai/gsm8k .* with math_en/gsm8k_test\.jsonl"):
        tasks.load("gsm8k").examples("test")


def test_rows_from_the_hub(hub, check):
    raw = [
        {"question": f"{i}+1000?", "answer": f"{i}+1000=<<{i}+1000={i + 1000}>>{i + 1000}\n#### {i + 1000:,}"}
        for i in range(20)
    ]
    asked = hub(raw)
    task = tasks.load("gsm8k")
    first = task.examples("train")[0]
    number = int(first.id.removeprefix("gsm8k/train/"))
    assert first.target == f" {number}+1000={number + 1000}\n#### {number + 1000}"
    assert asked[0][0] == ("openai/gsm8k", "main")
    assert len(asked[0][1]["revision"]) == 40


@pytest.mark.data
def test_real(check):
    task = tasks.load("gsm8k")
    check(task, {"train": 5300, "validation": 200, "test": 990})
    for split in ("train", "validation", "test"):
        for example in task.examples(split):
            assert "<<" not in example.target
            assert not any(stop in example.target for stop in task.stop)
            assert task.score(example, "#### 0.123").value == 0.0
