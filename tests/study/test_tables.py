"""Tables and figures of a study, from measures and metrics worked by hand."""

import numpy as np
import pytest

from yosegi.findings import Estimate
from yosegi.run import Run
from yosegi.study.measures import LOGP, Measure
from yosegi.study.tables import (
    above_one,
    arms_finding,
    by_number,
    changes,
    correlations,
    dots,
    grid,
    lines,
    task_by_task,
    training_curves,
    two_arms,
)


@pytest.fixture
def measure():
    scores = {
        "base": {0: [0.0, 0.0, 0.0, 1.0], 1: [0.0, 0.0, 1.0, 1.0]},
        "lib · arrow": {0: [1.0, 1.0, 0.0, 0.0], 1: [1.0, 1.0, 1.0, 1.0]},
    }
    return Measure("new", "accuracy", scores, ["x/one", "x/one", "x/two", "x/two"])


def test_every_arm_by_every_measure(measure):
    found = arms_finding("All", [measure], ["About."], more={"steps": {"base": 3}})
    assert found.table.columns == ["", "new, accuracy", "steps"]
    assert [row[0] for row in found.table.rows] == ["base", "lib · arrow"]
    assert found.table.rows[1][1].value == 0.75 and [row[2] for row in found.table.rows] == [3, None]
    assert found.text == ["About.", "2 seeds. Intervals: 95 %, over seeds and questions of these tasks."]
    assert found.figure.reference.value == 0.375 and found.figure.rows[1].group == "lib"


def test_an_arm_that_was_not_run_is_no_dot(measure):
    assert [row.label for row in dots(measure, ["missing", "base"]).rows] == ["base"]


def test_task_by_task(measure):
    figure = task_by_task(measure).figure
    assert (figure.columns, figure.values) == (["one", "two"], [[0.0, 0.75], [1.0, 0.5]])


def test_two_arms(measure):
    found = two_arms("Both", measure, {"lib": ("base", "lib · arrow"), "gone": ("base", "gone")}, [])
    assert [(p.x, p.y, p.label, p.group) for p in found.figure.points] == [
        (0.0, 1.0, "one", "lib"),
        (0.75, 0.5, "two", "lib"),
    ]
    assert found.table.rows[0][-1].value == 1


def test_changes_are_paired_and_counted(measure):
    (row,) = changes([measure, Measure("texts", LOGP, {"base": {0: [-1.0, -2.0]}}, ["t", "t"])]).table.rows
    assert row[0] == "lib · arrow" and isinstance(row[1], Estimate) and row[1].value == 0.375
    assert row[2:] == ["+2 −0.5", None, None], "up 2 and 2, down 1 and 0; not asked about texts"


def test_a_curve_is_the_mean_of_its_seeds(tmp_path):
    run = Run(tmp_path)
    for seed, values in enumerate([[1.0, 3.0], [2.0, 5.0, 9.0]]):
        run.log(*({"step": n + 1, "expert": f"a s{seed}", "loss": v} for n, v in enumerate(values)))
    run.log(step=1, expert="a s0", validation_loss=7.0)
    series = training_curves(
        run, {"a": ["a s0", "a s1"], "b": ["b s0"]}, lambda row: row.get("loss"), lambda arm, row: 10 * row["step"]
    )
    assert series[0].points == [(10, 1.5, 1.0, 2.0), (20, 4.0, 3.0, 5.0)], "as far as all of them go"
    assert [one.name for one in lines("", series, "step", "loss").series] == ["a"]
    run.log(*({"step": n + 1, "expert": "long", "loss": float(n)} for n in range(100)))
    (long,) = training_curves(run, {"l": ["long"]}, lambda row: row.get("loss"))
    assert len(long.points) == 20 and long.points[0] == (5, 2.0, 2.0, 2.0)


def test_a_measure_over_a_number(measure):
    figure = by_number("", measure, {"line": {2: "lib · arrow", 1: "base", 3: "missing"}}, "k")
    assert figure.series[0].points == [(1, 0.375, 0.25, 0.5), (2, 0.75, 0.5, 1.0)]
    found = arms_finding("", [measure], figure=figure)
    assert found.figure is figure


def test_what_is_alike_goes_with_what_is_gained():
    x = np.array([[0, 1, 2, 3], [1, 0, 4, 5], [2, 4, 0, 6], [3, 5, 6, 0]], float)
    found = correlations("", ["t/a", "b", "c", "d"], {"noise": x.T % 3, "alike": x}, 2 * x, ("alike", "gain"), [], 20)
    assert [row[:2] for row in found.table.rows[2:]] == [["alike", "Pearson"], ["alike", "Spearman"]]
    assert found.table.rows[2][2].value == 1 and found.table.columns[0] == "alike"
    assert [(p.x, p.y, p.label) for p in found.figure.points][:2] == [(1, 2, "a + b"), (2, 4, "a + c")]


def test_ratios_above_one():
    found = above_one("", {"raw": [[0.5, 2.0], [2.0, 4.0]]}, [])
    assert found.table.rows == [["raw", 0.75, "0.500, 1.000", 2.125]]
    assert sum(found.figure.values) == pytest.approx(1)


def test_a_grid_of_two_numbers(measure):
    scores = {f"α {a:g} β {b:g}": {0: [a + b]} for a in (0, 0.5) for b in (1.0,)}
    figure = grid("", Measure("g", "m", scores, ["t"]), "α {:g} β {:g}", (0.0, 0.5, 1.0), (1.0,)).figure
    assert (figure.rows, figure.columns, figure.values) == (["0", "0.5", "1"], ["1"], [[1.0], [1.5], [None]])
    assert figure.caption == "Mean over seeds: α … β …."
