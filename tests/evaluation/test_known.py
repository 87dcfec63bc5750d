"""Nothing is asked twice: a larger sample holds a smaller one, and its answers are found again."""

from dataclasses import replace

import pytest

from yosegi import files
from yosegi.engine.arm import Arm
from yosegi.evaluation import measure
from yosegi.evaluation.known import answered_before, question
from yosegi.evaluation.measure import evaluate
from yosegi.run import Run
from yosegi.tasks import Candidates, Score, Task, load

TIMES = ("wall_s", "peak_mem_mb", "run", "items")


class Weighed(Task):
    """Answered by likelihood."""

    name, metric, generates, known_splits = "weighed", "likelier", False, ("test",)
    other = "nothing"

    def examples(self, split):
        return load("skills/capital").examples(split)[:12]

    def candidates(self, example):
        return {"answers": Candidates((example.target, self.other), example.prompt)}

    def score_logprobs(self, example, logprobs):
        right, other = logprobs["answers"]
        return Score(
            float(right.sum_logprob > other.sum_logprob), "x", {"margin": right.sum_logprob - other.sum_logprob}
        )


@pytest.fixture
def counted(monkeypatch):
    """How many questions each call of the model was about."""
    calls, score = [], measure.score_candidates

    def counting(base, task, examples, **settings):
        calls.append((task.name, len(examples)))
        return score(base, task, examples, **settings)

    monkeypatch.setattr(measure, "score_candidates", counting)
    return calls


def test_a_larger_sample_asks_only_what_is_new(nano, pair, tmp_path, counted):
    asked, arms = [load("skills/add"), Weighed()], [Arm("base"), Arm("adder", pair[:1])]
    run = Run(tmp_path / "grown")
    few = evaluate(nano, arms, asked, run, limit=4)
    counted.clear()
    grown = evaluate(nano, arms, asked, run, limit=10)
    assert counted == [("skills/add", 6), ("weighed", 6)] * 2
    counted.clear()
    assert evaluate(nano, arms, asked, run, limit=10) == grown and not counted
    whole = evaluate(nano, arms, asked, Run(tmp_path / "whole"), limit=10)
    assert len(whole) == len(grown) > len(few) / 2
    for one, other in zip(grown, whole, strict=True):
        same = [{k: v for k, v in row.items() if k not in TIMES and not isinstance(v, float)} for row in (one, other)]
        assert same[0] == same[1] and one["value"] == pytest.approx(other["value"], abs=1e-5)
        items = [files.read_jsonl(tmp_path / name / row["items"]) for name, row in (("grown", one), ("whole", other))]
        assert [item["prediction"] for item in items[0]] == [item["prediction"] for item in items[1]]
    assert {row["n"] for row in grown} == {10}


def test_other_candidates_are_another_question(nano, tmp_path, counted):
    run = Run(tmp_path)
    evaluate(nano, [Arm("base")], [Weighed()], run, limit=4)
    task = Weighed()
    task.other = "something"
    evaluate(nano, [Arm("base")], [task], run, limit=5)
    assert counted == [("weighed", 4), ("weighed", 5)]


def test_another_limit_of_tokens_is_another_way_to_ask(nano, tmp_path, counted):
    run, task = Run(tmp_path), load("skills/add")
    evaluate(nano, [Arm("base")], [task], run, limit=4)
    task.max_new_tokens = 2
    evaluate(nano, [Arm("base")], [task], run, limit=5)
    assert [n for _, n in counted] == [4, 5]


def test_the_largest_measurement_made_in_this_way_counts(tmp_path):
    run, rows = Run(tmp_path), []
    for n, way in ((2, "so"), (3, "so"), (9, "otherwise")):
        items = run.items("t", f"{way}{n}", [{"question": f"{way}{k}"} for k in range(n)])
        rows.append({"asked_like": way, "n": n, "items": items, "wall_s": float(n)})
    kept, seconds = answered_before(run, rows, "so")
    assert set(kept) == {"so0", "so1", "so2"} and seconds == 3.0
    assert answered_before(run, rows, "never") == ({}, 0.0)


def test_a_question_is_its_words_and_not_its_id_alone():
    task = load("skills/add")
    one, other = task.examples("test")[:2]
    assert question(task, one) == question(task, replace(one)) != question(task, other)
    assert question(task, one) != question(task, replace(one, prompt=other.prompt))
