import json

import pytest

from yosegi.errors import Corrupt
from yosegi.findings import Findings
from yosegi.reporting.boards import boards
from yosegi.reporting.read import read


def row(model="base", task="add", metric="accuracy", value=0.5, **more):
    return {
        "model": model,
        "task": task,
        "metric": metric,
        "value": value,
        "split": "test",
        "base": "nano",
        "seed": 0,
        **more,
    }


@pytest.fixture
def found(tmp_path):
    """Write rows as a run and read them."""

    def write(*rows, name="a"):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        (folder / "results.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
        return read([folder])

    return write


def test_the_last_of_repeated_measurements_counts(found):
    assert [m.value for m in found(row(value=0.1), row(value=0.2), row(value=0.3, seed=1)).scores] == [0.2, 0.3]


def test_rows_of_an_expert_that_was_trained_again_are_stale(found):
    new, old = {"arm_hash": "new"}, {"arm_hash": "old"}
    here = found(
        row("x", "add", **old), row("x", "sort", **old), row("y", "add", **old), row("x", "sort", **new),
        row("x", "add", seed=1, **old), row("z", "add"),
    )  # fmt: skip
    assert here.stale == {("x", "add")}
    (board,) = boards(here)
    scores = {
        (line.model, task): s.stale for line in board.lines for s, task in zip(line.scores, board.tasks, strict=True)
    }
    assert [key for key, stale in scores.items() if stale] == [("x", "add")]


def test_a_comparison_is_not_a_measurement(found):
    diff = row("arrow", metric="accuracy_diff", value=0.2, against="base", p_value=0.01, diff=0.2)
    here = found(row(), row("arrow", value=0.7), diff)
    assert [(m.model, m.metric, m.value) for m in here.scores] == [
        ("base", "accuracy", 0.5),
        ("arrow", "accuracy", 0.7),
    ]
    assert [(m.model, m.metric, m.row["diff"]) for m in here.comparisons] == [("arrow", "accuracy", 0.2)]
    assert here.against(here.comparisons[0]) == "base"


def test_a_row_may_measure_and_compare_at_once(found):
    here = found(row(), row("arrow", value=0.7, against="base", p_value=0.01, diff=0.2))
    assert [m.value for m in here.scores] == [0.5, 0.7] and len(here.comparisons) == 1


def test_two_ways_of_one_name_are_told_apart(found):
    here = found(row(), row("mix", router="arrow", mix="outputs"), row("mix", router="arrow", mix="factors"))
    assert here.models == ["base", "mix · outputs", "mix · factors"]


def test_splits_are_named_where_there_are_several(found):
    assert found(row(), row(split="validation")).tasks == ["add · test", "add · validation"]
    assert found(row()).tasks == ["add"]


@pytest.mark.parametrize(
    "rows",
    [
        [row("first"), row("base")],
        [row("first"), row("plain", method="base")],
        [row("first"), row("nano")],
        [row("other"), row("first", against="second", p_value=1, diff=0, value=None), row("second")],
    ],
)
def test_the_base_is_found(found, rows):
    here = found(*rows)
    assert here.bases["a"] in ("base", "plain", "nano", "second")
    assert here.models[0] == here.bases["a"]


def test_a_run_without_a_base_borrows_one(found, tmp_path):
    found(row(), name="a")
    found(row("arrow"), name="b")
    found(row("arrow", base="other"), name="c")
    here = read([tmp_path / name for name in "abc"])
    assert here.bases == {"a": "a · base", "b": "a · base"}


def test_runs_of_one_name_stay_apart(tmp_path):
    for parent in "ab":
        (tmp_path / parent / "run").mkdir(parents=True)
        (tmp_path / parent / "run" / "results.jsonl").write_text(json.dumps(row()) + "\n")
    here = read([tmp_path / "a" / "run", tmp_path / "b" / "run", tmp_path / "a" / ".." / "a" / "run"])
    assert [run.name for run in here.runs] == ["run", "run (2)"]
    assert here.models == ["run · base", "run (2) · base"]


def test_a_wrong_row_is_named_and_a_cut_off_line_is_not_one(found, tmp_path):
    with pytest.raises(Corrupt, match=r"results\.jsonl, row 2, lacks model"):
        found(row(), {"task": "add", "metric": "accuracy"})
    with pytest.raises(Corrupt, match="'high' is not a number"):
        found(row(value="high"))
    with pytest.raises(Corrupt, match="row 1, is not an object"):
        found([1])
    found(row())
    with (tmp_path / "a" / "results.jsonl").open("a") as file:
        file.write('{"model": "ar')
    assert len(read([tmp_path / "a"]).scores) == 1


def test_values_that_are_not_there_are_not_measurements(found):
    assert found(row(value=None), row(value=float("nan"), seed=1), row(seed=2)).scores[0].seed == 2


def test_items_are_read_from_inside_the_run_only(found, tmp_path):
    (tmp_path / "secret.jsonl").write_text('{"id": 1, "score": 1.0}\n')
    here = found(row(items="../secret.jsonl"), row(items="items/none.jsonl", seed=1), row(items=3, seed=2))
    assert [here.runs[0].items(m) for m in here.scores] == [[], [], []]
    (tmp_path / "a" / "items.jsonl").write_text('{"id": 1, "score": "good"}\n')
    with pytest.raises(Corrupt, match=r"items\.jsonl, row 1"):
        here.runs[0].items(found(row(items="items.jsonl")).scores[0])


def test_when_it_was(found, tmp_path):
    here = found(row()).runs[0]
    assert here.when and here.when.endswith("UTC")  # of the file
    (tmp_path / "a" / "env.json").write_text('{"started": "yesterday"}')
    assert read([tmp_path / "a"]).runs[0].when == "yesterday"


def test_findings_alone_are_a_run(tmp_path):
    (tmp_path / "findings.json").write_text('{"title": "t", "findings": []}')
    assert read([tmp_path]).runs[0].findings == Findings("t", [])
