"""Measures are what evaluate wrote down, question by question."""

import pytest

from yosegi.run import Run
from yosegi.study.measures import LOGP, Measure, gained_and_lost, measures


def answered(run, arm, seed, task, scores, **more):
    items = [{"id": str(n), "score": s, "logp": -1.0 - s, **more} for n, s in enumerate(scores)]
    name = run.items(task, f"{arm}-s{seed}", items)
    shared = {"model": arm, "seed": seed, "task": task, "items": name}
    run.result({**shared, "metric": "accuracy", "value": 0.0}, {**shared, "metric": "logp", "value": 0.0})
    run.result({**shared, "metric": "accuracy", "against": "base", "value": 0.0})


@pytest.fixture
def run(tmp_path):
    run = Run(tmp_path)
    for seed in (0, 1):
        for arm, score in (("base", 0.0), ("a", 1.0)):
            answered(run, arm, seed, "one", [score, score, 0.0])
            answered(run, arm, seed, "two", [score])
    answered(run, "half", 0, "one", [1.0, 1.0, 1.0])
    run.result({"model": "all", "seed": 0, "task": "all", "metric": "share", "value": 0.5})
    return run


def test_a_measure_holds_the_questions_of_all_its_tasks(run):
    accuracy, logp = measures(run, {"all": ["one", "two"], "none": []})
    assert (accuracy.label, logp.metric) == ("all, accuracy", LOGP)
    assert accuracy.scores == {
        "base": {0: [0.0] * 4, 1: [0.0] * 4},
        "a": {0: [1.0, 1.0, 0.0, 1.0], 1: [1.0, 1.0, 0.0, 1.0]},
    }
    assert logp.scores["a"][1] == [-2.0, -2.0, -1.0, -2.0], "an arm that was not asked everything is left out"
    assert accuracy.mean("a") == 0.75 and accuracy.mean("half") is None and accuracy.estimate("half") is None
    assert accuracy.of("two").scores["a"] == {0: [1.0], 1: [1.0]}
    assert accuracy.change("a").value == 0.75 and accuracy.change("half") is None


def test_another_field_may_count(run):
    answered(run, "b", 0, "choices", [0.0, 0.0], letter=1.0)
    (found,) = measures(run, {"known": ["choices"]}, keys={"known": ("letter", "score")}, logp=False)
    assert found.scores == {"b": {0: [1.0, 1.0]}}


def test_intervals_speak_of_tasks_where_there_are_several(run):
    for task in ("three", "four"):
        for arm in ("base", "a"):
            answered(run, arm, 0, task, [1.0])
    two, four = (measures(run, {"g": tasks})[0] for tasks in (["one", "two"], ["one", "two", "three", "four"]))
    assert (two.over_tasks, four.over_tasks) == (False, True) and two.clusters is None
    assert not measures(run, {"g": ["one", "two", "three", "four"]}, over_tasks=False)[0].over_tasks


def test_the_interval_of_a_log_p_ends_at_zero():
    scores = {"a": {s: [-0.01, -0.02, -2.0] for s in range(3)}}
    assert Measure("g", LOGP, scores, ["t"] * 3).estimate("a").high == 0
    assert Measure("g", "gain", scores, ["t"] * 3).estimate("a").high > 0


def test_gained_and_lost():
    assert gained_and_lost([1, 0, 1, 0.5], [0, 1, 1, 0]) == (2, 1)
