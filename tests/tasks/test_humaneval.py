import pytest

from yosegi import tasks
from yosegi.errors import Invalid
from yosegi.tasks.readers.programs import pass_at

ROW = {
    "id": "humaneval/0",
    "prompt": 'import math\n\n\ndef twice(x):\n    """Returns x twice.\n    """\n',
    "solution": "    return 2 * x\n",
    "tests": "def check(candidate):\n    assert candidate(2) == 4\n",
    "entry_point": "twice",
}


@pytest.fixture
def task(write, monkeypatch, tmp_path):
    monkeypatch.setenv("YOSEGI_DATA", str(tmp_path))
    write("code/humaneval.jsonl", [ROW])
    return tasks.load("humaneval{samples=5,temperature=0.5}")


def test_a_completion_or_a_whole_program_passes(task):
    (example,) = task.examples("test")
    said = [
        "\n    return x + x",
        "\n    return 3 * x",
        "",
        "```python\ndef twice(x):\n    return 2 * x\n```",
        "\n    return (",
    ]
    scores = task.scores([example] * 5, said)
    assert [score.value for score in scores] == [1.0, 0.0, 0.0, 1.0, 0.0]
    assert [score.parsed for score in scores] == [True, True, False, True, False]
    assert not example.chat and example.prompt.endswith('"""')


def test_several_answers_give_the_unbiased_pass_at_k(task):
    (example,) = task.examples("test")
    scores = task.scores([example] * 5, ["\n    return 2 * x"] * 2 + ["\n    return x"] * 3)
    together = task.several(scores)
    assert (task.samples, task.temperature, together.value) == (5, 0.5, 0.4)
    assert together.metrics == {"pass@1": pytest.approx(0.4), "pass@5": 1.0}


def test_pass_at_k_is_the_mean_over_all_draws_of_k():
    from itertools import combinations

    for right in range(5):
        draws = list(combinations([1] * right + [0] * (4 - right), 2))
        assert pass_at(2, 4, right) == pytest.approx(sum(map(any, draws)) / len(draws))


def test_no_samples_are_refused():
    with pytest.raises(Invalid, match="samples"):
        tasks.load("humaneval{samples=0}")
