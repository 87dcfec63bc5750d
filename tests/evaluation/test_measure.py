"""Arms x tasks -> rows and items that agree with each other, and nothing measured twice."""

import json

import pytest

from yosegi import files
from yosegi.engine import request
from yosegi.engine.arm import Arm
from yosegi.errors import Invalid
from yosegi.evaluation import measure
from yosegi.evaluation.measure import evaluate
from yosegi.evaluation.statistics import compare, wilson
from yosegi.reporting.forgetting import forgetting
from yosegi.reporting.read import read
from yosegi.run import Run
from yosegi.tasks import Candidates, Example, Score, Task, load


@pytest.fixture
def asked():
    return [load("skills/add"), load("skills/mul")]


def test_rows_are_what_the_items_say(nano, pair, asked, tmp_path):
    run = Run(tmp_path)
    arms = [Arm("base"), Arm("adder", pair[:1]), Arm("oracle", pair, "oracle"), Arm("arrow", pair, "arrow")]
    rows = evaluate(nano, arms, asked, run, limit=12, seed=3)
    assert run.results() == json.loads(json.dumps(rows))
    measured = {(r["model"], r["task"], r["metric"]): r for r in rows}
    assert ("oracle", "skills/mul", "accuracy") not in measured, "nobody learnt it"
    for (model, task, metric), row in measured.items():
        items = files.read_jsonl(tmp_path / row["items"])
        assert row["n"] == len(items) == 12 and row["seed"] == 3 and row["base_hash"] == nano.hash
        scores = [item["score"] for item in items]
        if metric == "accuracy":
            assert row["value"] == sum(scores) / 12 and (row["ci_low"], row["ci_high"]) == wilson(int(sum(scores)), 12)
            assert row["parse_failures"] == sum(not item["parsed"] for item in items) / 12
            assert row["truncated"] == sum(item["truncated"] for item in items) / 12
        if metric == "logp":
            assert row["value"] == pytest.approx(sum(item["logp"] for item in items) / 12) and row["value"] < 0
        if metric == "accuracy_diff":
            first = files.read_jsonl(tmp_path / measured["base", task, "accuracy"]["items"])
            expected = compare(scores, [item["score"] for item in first])
            assert (row["gained"], row["lost"], row["p_value"]) == (expected.gained, expected.lost, expected.p_value)
            assert row["against"] == "base" != model
        if metric == "logp_diff":
            first = files.read_jsonl(tmp_path / measured["base", task, "logp"]["items"])
            expected = compare([item["logp"] for item in items], [item["logp"] for item in first])
            assert (row["value"], row["p_value"]) == (expected.diff, expected.p_value) and row["mid_p"] is None
        assert metric.endswith("_diff") or row["ci_high"] <= (0 if metric == "logp" else 1)
    assert {m for _, _, m in measured} == {"accuracy", "accuracy_diff", "logp", "logp_diff"}
    routing = files.read_json(tmp_path / "routing.json")
    assert routing["experts"] == ["adder", "turner"] and set(routing["routers"]) == {"oracle", "arrow"}
    assert files.read_json(tmp_path / "similarity.json")["cosine"][0][0] == pytest.approx(1)


def test_steps_that_were_close_are_counted(nano, asked, tmp_path, monkeypatch):
    """Such a step may come out otherwise in another batch; it is never hidden."""
    assert "close_calls" not in evaluate(nano, [Arm("base")], asked[:1], Run(tmp_path / "clear"), limit=3)[0]
    monkeypatch.setattr(request, "MARGIN", 1e9)
    rows = evaluate(nano, [Arm("base")], asked[:1], Run(tmp_path / "close"), limit=3)
    assert rows[0]["close_calls"] == 3
    assert all(item["close_calls"] > 0 for item in files.read_jsonl(tmp_path / "close" / rows[0]["items"]))


def test_an_interrupted_evaluation_goes_on(nano, pair, asked, tmp_path, monkeypatch):
    run, arms = Run(tmp_path), [Arm("base"), Arm("adder", pair[:1])]
    generate, calls = measure.generate, []

    def stops_at_the_third(*arguments, **named):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return generate(*arguments, **named)

    monkeypatch.setattr(measure, "generate", stops_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        evaluate(nano, arms, asked, run, limit=4)
    rows = evaluate(nano, arms, asked, run, limit=4)
    assert len(calls) == 5, "two before, one broken off, two that were missing"
    whole = evaluate(nano, arms, asked, Run(tmp_path / "whole"), limit=4)
    same = [{k: v for k, v in row.items() if k not in ("wall_s", "peak_mem_mb", "run")} for row in rows]
    assert same == [{k: v for k, v in row.items() if k not in ("wall_s", "peak_mem_mb", "run")} for row in whole]
    assert len(run.results()) == len(rows)


def test_two_arms_of_one_name_are_refused(nano, asked, tmp_path):
    with pytest.raises(Invalid, match="'base'"):
        evaluate(nano, [Arm("base"), Arm("base")], asked, Run(tmp_path))


class Wordy(Task):
    """One question that `nano` answers in a few tokens, under limits that are enough and not enough."""

    name, metric = "wordy", "exact_match"

    def __init__(self, limit, stop=()):
        self.max_new_tokens, self.stop, self.asked = limit, stop, []

    def examples(self, split):
        return load("skills/add").examples(split)[:6]

    def scores(self, examples, predictions):
        self.asked.append(len(predictions))
        return [Score(1.0, text, {"length": float(len(text))}) for text in predictions]


def test_answers_that_ran_into_the_limit_are_counted(nano, tmp_path):
    def share(task, folder):
        row = evaluate(nano, [Arm("base")], [task], Run(tmp_path / folder))[0]
        assert [item["truncated"] for item in files.read_jsonl(tmp_path / folder / row["items"])].count(True) == round(
            6 * row["truncated"]
        )
        return row["truncated"]

    assert share(Wordy(24), "enough") == 0.0
    assert share(Wordy(1), "short") == 1.0
    digits = tuple("0123456789")
    assert share(Wordy(1, digits), "stopped") < 1.0, "a stop string is an end"


def test_a_task_may_score_all_at_once_and_by_more_than_one_metric(nano, tmp_path):
    task = Wordy(24)
    rows = {row["metric"]: row for row in evaluate(nano, [Arm("base")], [task], Run(tmp_path))}
    assert task.asked == [6] and set(rows) == {"exact_match", "length", "logp"}
    items = files.read_jsonl(tmp_path / rows["length"]["items"])
    assert rows["length"]["value"] == sum(item["length"] for item in items) / 6 > 0


class Marked(Task):
    """Three questions: one is known to be faulty, and all have something to weigh."""

    name, metric = "marked", "exact_match"

    def examples(self, split):
        return load("skills/add").examples(split)[:3]

    def score(self, example, prediction):
        ok = {} if example == self.examples("test")[0] else {"exact_match_ok": 1.0}
        return Score(1.0, "x", ok)

    def candidates(self, example):
        return {"sum": Candidates((example.target, "nothing"), example.prompt)}

    def score_logprobs(self, example, logprobs):
        return Score(0.0, None, {"likelier": float(logprobs["sum"][0].sum_logprob > logprobs["sum"][1].sum_logprob)})


def test_a_metric_is_over_the_examples_that_have_it(nano, tmp_path):
    rows = {row["metric"]: row for row in evaluate(nano, [Arm("base")], [Marked()], Run(tmp_path))}
    assert {name: row["n"] for name, row in rows.items()} == {
        "exact_match": 3, "exact_match_ok": 2, "likelier": 3, "logp": 3,
    }  # fmt: skip
    assert rows["likelier"]["value"] == 1.0 and rows["exact_match_ok"]["value"] == 1.0
    items = files.read_jsonl(tmp_path / rows["likelier"]["items"])
    assert ["exact_match_ok" in item for item in items] == [False, True, True]
    assert all(item["likelier"] == 1.0 for item in items) and "general" not in rows["logp"]


def test_other_questions_of_a_task_have_items_of_their_own(nano, pair, tmp_path):
    run, capital = Run(tmp_path), [load("skills/capital")]
    few, more, again = (
        evaluate(nano, [Arm("base"), *arms], capital, run, limit=limit)
        for limit, arms in ((4, []), (7, []), (4, [Arm("adder", pair[:1])]))
    )
    for rows, n in ((few, 4), (more, 7), (again, 4)):
        assert all(
            len(files.read_jsonl(tmp_path / row["items"])) == row["n"] == n for row in rows if row["model"] == "base"
        )


def test_what_was_asked_before_is_general_when_it_is_asked_as_such(nano, pair, tmp_path):
    run, arms, asked = Run(tmp_path), [Arm("base"), Arm("adder", pair[:1])], [load("skills/mul")]
    plain = evaluate(nano, arms, asked, run, limit=6)
    for _ in range(2):
        rows = evaluate(nano, arms, asked, run, limit=6, general=True)
        assert [row["general"] for row in rows] == [True] * len(plain)
        assert len(run.results()) == 2 * len(plain), "written once more, and not a third time"
    evaluate(nano, arms, asked, run, limit=3)
    found = read([tmp_path])
    (adder,) = forgetting(found, found.models)
    assert [change.questions for change in adder.changes] == [6], "asking it once more for itself takes nothing away"


class Long(Task):
    """Prompts, one of which is longer than the model can look at, and one with its answer."""

    name, max_new_tokens = "long", 5

    def examples(self, split):
        return [Example(str(n), "1+2=" * n, "3", ("3",)) for n in (1, 63, 80)]

    def score(self, example, prediction):
        return Score(float(prediction == example.target), prediction)


def test_what_the_context_cuts_is_said_once_and_stands_in_the_rows(nano, pair, tmp_path, capsys):
    rows = evaluate(nano, [Arm("base"), Arm("adder", pair[:1])], [Long()], Run(tmp_path / "r"))
    words = "2 of 3 rows lost the beginning of their prompt"
    assert capsys.readouterr().err.count(f"Warning: long: {words}.") == 1
    assert {row["cut"] for row in rows} == {words} and {row["remark"] for row in rows} == {f"{words}."}


def test_a_task_without_answers_has_no_log_likelihood_of_them(nano, tmp_path):
    (tmp_path / "x.jsonl").write_text('{"prompt": "12+30=", "regex": "^42$", "split": "test"}')
    run = Run(tmp_path / "r")
    rows = evaluate(nano, [Arm("base")], [load(f"file/{tmp_path}/x.jsonl")], run)
    assert [(row["metric"], row["value"]) for row in rows] == [("checks", 1.0)]
    assert json.loads((run.path / rows[0]["items"]).read_text())["logp"] is None


class Drawn(Task):
    """Asks for additions, and counts draws of an odd length."""

    name, max_new_tokens, samples, temperature = "drawn", 3, 4, 9.0

    def examples(self, split):
        return load("skills/add").examples(split)[:6]

    def score(self, example, prediction):
        return Score(float(len(prediction) % 2), prediction or None)

    def overall(self, examples, items):
        return {"product": items[0]["score"] * items[-1]["score"]} if items else {"product": 0.0}


def test_several_answers_are_drawn_and_a_measure_of_all_answers_is_a_row(nano, tmp_path):
    rows = evaluate(nano, [Arm("base"), Arm("again")], [Drawn()], Run(tmp_path))
    by_metric = {row["metric"]: row for row in rows if row["model"] == "base"}
    items = files.read_jsonl(tmp_path / by_metric["accuracy"]["items"])
    assert all(item["score"] in (0, 0.25, 0.5, 0.75, 1) for item in items) and len(items) == 6
    assert by_metric["product"]["value"] == items[0]["score"] * items[-1]["score"]
    low, high = by_metric["product"]["ci_low"], by_metric["product"]["ci_high"]
    assert low <= by_metric["product"]["value"] <= high and "product_diff" not in {row["metric"] for row in rows}
    assert any(0 < item["score"] < 1 for item in items), "draws differ"
