"""What could not be read, what was cut off, and what was right in another form."""

import json

from yosegi.reporting.answers import Answers, answers
from yosegi.reporting.context import Context
from yosegi.reporting.read import read
from yosegi.reporting.sections.extraction import audit, digest, section


def row(score, prediction, target="踏切", parsed=True, truncated=False):
    return {
        "score": score,
        "prediction": prediction,
        "target": target,
        "prompt": "問\n題",
        "parsed": parsed,
        "truncated": truncated,
    }


def look(*rows):
    seed = {f"q{i}": r | {"id": f"q{i}"} for i, r in enumerate(rows)}
    return audit(Answers("t", {}, None, {"x": [seed]}), "x")


def test_counts_and_examples():
    found = look(
        row(1.0, "踏切"), row(0.0, "", parsed=False), row(0.0, "踏切です"), row(0.0, "索道", truncated=True),
        row(1.0, "踏切…", truncated=True), row(0.0, "索道"),
    )  # fmt: skip
    assert [found[key] for key in ("n", "judged", "unread", "cut_off", "contains")] == [6, 6, 1, 1, 1]
    assert [(r["id"], why) for why, r in found["examples"]] == [
        ("q1", "not readable"), ("q2", "contains the target"), ("q3", "cut off"),
    ]  # fmt: skip


def test_nothing_to_look_at():
    found = look(row(1.0, "踏切"), row(0.0, "索道"))
    assert not (found["unread"] or found["cut_off"] or found["contains"]) and found["examples"] == []


def test_a_letter_or_a_whole_solution_is_not_looked_for():
    assert look(row(0.0, "A B C", target="B"))["contains"] is None
    assert look(row(0.0, "x" * 80, target="x" * 70))["contains"] is None


def test_a_target_inside_a_longer_number_is_not_the_target():
    found = look(*(row(0.0, text, target="12") for text in ("312", "12.5", "120", "x12", "is 12.", "12 apples", "=12")))
    assert found["contains"] == 3


def test_seeds_are_counted_together_and_three_examples_are_shown():
    one = {f"q{i}": row(0.0, "", parsed=False) | {"id": f"q{i}"} for i in range(5)}
    found = audit(Answers("t", {}, None, {"x": [one, one]}), "x")
    assert (found["n"], found["unread"], len(found["examples"])) == (10, 10, 3)


def test_shares_are_those_of_the_rows_or_counted(tmp_path):
    results = [
        {
            "model": model,
            "task": "t",
            "metric": "accuracy",
            "value": 0.5,
            "base": "b",
            "items": f"{model}.jsonl",
            **more,
        }
        for model, more in {"base": {}, "x": {"truncated": 0.25}, "y": {"parse_failures": 0.125}}.items()
    ]
    (tmp_path / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in results))
    for model, scores in {"base": "1100", "x": "1110", "y": "1111"}.items():
        lines = [{"id": f"q{i}", "score": float(s), "parsed": s == "1"} for i, s in enumerate(scores)]
        (tmp_path / f"{model}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    context = Context(read([tmp_path]))
    context.digests["extraction"] = [digest(context, of) for of in answers(context.results, context.models)]
    found = section(context)
    assert found["unread"] == {("base", "t"): 0.5, ("x", "t"): 0.25, ("y", "t"): 0.125}
    assert found["truncated"] == {"x": {"t": 0.25}}
