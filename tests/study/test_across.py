"""Unlike metrics have no mean: what is said of arms over many tasks is ranks and questions."""

import pytest

from yosegi.evaluation.statistics import compare
from yosegi.study.across import across, ranks
from yosegi.tasks import Task

ANSWERS = {
    "base": {"a": [0, 0, 0, 1], "b": [0.5, 0.5, 0.5, 0.5]},
    "up": {"a": [1, 1, 0, 1], "b": [0.6, 0.7, 0.8, 0.6]},
    "even": {"a": [1, 0, 0, 0], "b": [0.5, 0.5, 0.5, 0.5]},
}


def task(name, metric):
    made = Task()
    made.name, made.metric = name, metric
    return made


@pytest.fixture
def asked():
    return [task("a", "letter"), task("b", "rougeL")]


@pytest.fixture
def rows():
    made = []
    for arm, answers in ANSWERS.items():
        for one, metric in (("a", "letter"), ("b", "rougeL")):
            value, shared = sum(answers[one]) / 4, {"model": arm, "task": one, "n": 4}
            made.append({**shared, "metric": metric, "value": value, "ci_low": value - 0.1, "ci_high": value + 0.1})
            made.append({**shared, "metric": "logp", "value": -value, "ci_low": -1.0, "ci_high": 0.0})
            if arm != "base":
                found = compare(answers[one], ANSWERS["base"][one])
                compared = {
                    "value": found.diff,
                    "gained": found.gained,
                    "lost": found.lost,
                    "detectable": found.detectable,
                }
                made.append(
                    {
                        **shared,
                        **compared,
                        "metric": f"{metric}_diff",
                        "against": "base",
                        "ci_low": -1.0,
                        "ci_high": 1.0,
                    }
                )
    return made


def test_ranks_are_those_of_each_tasks_own_metric(rows, asked):
    assert ranks(rows, asked) == {"up": 1.0, "base": 2.5, "even": 2.5}
    assert "up" not in ranks([row for row in rows if (row["model"], row["task"]) != ("up", "b")], asked), (
        "it has no rank"
    )


def test_every_arm_and_every_task_has_a_line(rows, asked):
    arms, tasks = across(rows, asked, ["Said first."])
    assert arms.text[0] == "Said first." and "no verdict" in arms.text[1] and "conservative" in arms.text[2]
    by_arm = {row[0]: row for row in arms.table.rows}
    assert by_arm["up"][1:4] == [1.0, "2 / 0", "+6 −0"] and by_arm["even"][2:4] == ["0 / 0", "+1 −1"]
    assert by_arm["up"][4].value == 0.75 and by_arm["even"][4].value == 0, "two of four and four of four; nothing"
    assert by_arm["up"][5] == pytest.approx(0.0625), "six to none, the smaller of two: 2 / 64 times 2"
    assert by_arm["base"][2:] == [None] * 4
    lines = {row[0]: row for row in tasks.table.rows}
    assert lines["a"][1:3] == ["letter", 4] and lines["a"][4].value == 0.25 and lines["a"][6] == "up"
    assert lines["b"][7] > 0 and "could be seen" in tasks.text[1]
