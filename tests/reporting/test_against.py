import json

import pytest

from tests.reporting.conftest import write_lines
from yosegi.errors import Invalid
from yosegi.evaluation.statistics import compare, over_seeds
from yosegi.reporting import report
from yosegi.reporting.against import against
from yosegi.reporting.boards import boards
from yosegi.reporting.read import read


@pytest.fixture
def make(tmp_path):
    """A run of marks: by (model, task), for each seed the scores of its questions, in order."""

    def write(name, marks, metric="accuracy", **config):
        rows = []
        for (model, task), seeds in marks.items():
            for seed, scores in enumerate(seeds):
                items = f"items/{task}.{model}.{seed}.jsonl"
                write_lines(
                    tmp_path / name / items,
                    [{"id": f"q{i}", "score": s} for i, s in enumerate(scores) if s is not None],
                )
                known = [s for s in scores if s is not None]
                row = {
                    "model": model,
                    "task": task,
                    "metric": metric,
                    "value": sum(known) / len(known),
                    "n": len(known),
                }
                rows.append(row | {"seed": seed, "items": items, "base": "nano", "base_hash": "h"})
        write_lines(tmp_path / name / "results.jsonl", rows)
        (tmp_path / name / "config.json").write_text(json.dumps(config))
        return tmp_path / name

    return write


def compared(one, other):
    results, others = read([one]), read([other])
    return against(boards(results)[0], boards(others)[0], (results.runs[0], others.runs[0]))


def test_what_is_asked_in_both_is_paired_question_by_question(make):
    after, before = [1.0] * 8 + [0.0, 1.0], [0.0] * 8 + [1.0, 1.0]
    here = make("here", {("a", "t"): [after], ("a", "u"): [[1.0, 1.0]], ("b", "t"): [after[:6] + [None] * 3]})
    there = make("there", {("a", "t"): [before], ("b", "t"): [before], ("c", "t"): [before]})
    both = compared(here, there)
    first, second = both.rows
    expected = compare(after, before)
    assert (first.model, first.against, first.p, first.verdict) == ("a", "there", expected.p_value, "better")
    assert [first.measured.row[key] for key in ("diff", "diff_low", "gained", "lost", "then")] == [
        pytest.approx(0.7), expected.diff_low, 8, 1, 0.2,
    ]  # fmt: skip
    assert second.measured.value == 1 and second.measured.row["diff"] == 1, "of the six that both asked"
    assert both.partly == ["t (6 of 10)"] and (both.here, both.there) == (["a on u"], ["c on t"])


def test_seeds_count_and_less_may_be_better(make):
    after, before = [[0.1, 0.2, 0.3, 0.1], [0.2, 0.1, 0.2, 0.2]], [[0.9, 0.8, 0.7, 0.9], [0.9, 0.9, 0.8, 0.7]]
    here, there = (make(name, {("a", "t"): of}, "loss") for name, of in (("here", after), ("there", before)))
    (row,) = compared(here, there).rows
    assert (
        row.verdict == "better"
        and row.measured.row["diff_high"] == over_seeds(after, before)[2] < 0
        and 0 < row.p < 0.05
    )


def test_without_a_question_in_common_there_is_no_verdict(make):
    here, there = make("here", {("a", "t"): [[1.0, 0.0]]}), make("there", {("a", "t"): [[1.0, 1.0]]})
    for path in (there / "items").iterdir():
        path.write_text(path.read_text().replace('"q', '"other'))
    (row,) = compared(here, there).rows
    assert row.verdict == "not paired" and row.measured.row == {"diff": -0.5, "then": 1.0}
    text = report([here], here / "report.html", against=there).read_text()
    assert "1 without a question in common (no interval)" in text and ">nan<" not in text


def test_settings_that_differ_are_said(make):
    marks = {("a", "t"): [[1.0, 0.0]]}
    here = make("here", marks, limit=2, chat_template="none", seed=0, run="here")
    there = make(
        "there", marks | {("a", "t"): [[1.0, 0.0], [0.0, 0.0]]}, limit=2, chat_template="auto", seed=0, run="there"
    )
    assert compared(here, there).unlike == [("chat_template", "auto", "none"), ("seeds", "0 1", "0")]
    text = report([here], here / "report.html", against=there).read_text()
    assert "a difference may come from them:</b> chat_template, seeds." in text
    assert "a difference may come from them" not in report([here], here / "report.html", against=make("same", marks, limit=2, chat_template="none", seed=0)).read_text()  # fmt: skip
    none = make("none", {("z", "t"): [[1.0]]})
    assert "nothing to compare" in report([here], here / "report.html", against=none).read_text()


def test_one_run_is_compared_with_one_other(make, tmp_path):
    here, there = make("here", {("a", "t"): [[1.0]]}), make("there", {("a", "t"): [[1.0]]})
    for runs, other in (([here, there], here), ([here], here)):
        with pytest.raises(Invalid, match="one run is compared with one other"):
            report(runs, tmp_path / "report.html", against=other)
    assert not (tmp_path / "report.html").exists()
