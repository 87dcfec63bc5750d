import json

import pytest

from yosegi.reporting.draw.scale import POINTS
from yosegi.reporting.read import read
from yosegi.reporting.sections.training import charts


@pytest.fixture
def drawn(tmp_path):
    def write(rows, names=("r",)):
        for name in names:
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return charts(read([tmp_path / name for name in names]))

    return write


def points(chart, kind, colour="c0"):
    return [point for mark in chart.plot.marks if (mark.kind, mark.colour) == (kind, colour) for point in mark.points]


def test_one_chart_per_stage_and_one_curve_per_expert(drawn):
    rows = [{"step": 1, "stage": "pretrain", "loss": 3.0}]
    rows += [{"step": s, "stage": "sft", "expert": e, "loss": 2.0 / s} for e in "ab" for s in (1, 2)]
    found = [(chart.title, [name for _, name in chart.legend]) for chart in drawn(rows)]
    assert found == [("pretrain", ["pretrain"]), ("sft", ["a", "b"])]


def test_points_are_where_they_should_be(drawn):
    (chart,) = drawn([{"step": s, "loss": 4.0 - s} for s in (0, 1, 2)])
    path = points(chart, "raw")
    assert [x for x, _ in path] == [0, 50, 100]
    assert path[0][1] < path[1][1] < path[2][1] and path[1][1] == pytest.approx(50)
    assert chart.plot.x_ticks[0] == (0, "0") and "log" not in chart.plot.y


def test_a_wide_range_is_drawn_on_a_log_scale(drawn):
    (chart,) = drawn([{"step": s, "loss": 10.0**-s} for s in (0, 1, 2)])
    assert "log scale" in chart.plot.y and points(chart, "raw")[1][1] == pytest.approx(50, abs=0.1)


def test_a_long_curve_is_thinned(drawn):
    (chart,) = drawn([{"step": s, "loss": 9.0 if s == 5001 else 1.0 + s % 3 / 10} for s in range(10_000)])
    assert chart.thinned and len(points(chart, "raw")) <= 2 * POINTS and len(points(chart, "line")) <= POINTS + 1
    assert min(y for _, y in points(chart, "raw")) < 10, "the spike survives"


def test_rows_that_are_not_numbers_do_not_break_it(drawn):
    nan, words = {"step": 1, "loss": float("nan")}, {"step": "x", "loss": 1}
    assert drawn([nan, {"loss": 1.0}, {"step": 2, "colour": 3}, words]) == []
    (chart,) = drawn([{"step": 1, "loss": float("inf")}, {"step": 2, "loss": 1.0}])
    assert len(points(chart, "raw")) == 1


def test_validation_is_dots_and_the_learning_rate_has_a_strip(drawn):
    rows = [{"step": s, "loss": 1.0, "lr": 0.1 * s} for s in (1, 2, 3)]
    (chart,) = drawn([*rows, {"step": 3, "validation_loss": 1.5}])
    assert chart.has_checks and len(points(chart, "check")) == 1
    assert chart.rate.y == "learning rate, up to 0.3" and chart.rate.marks[0].points[-1][1] == 0


def test_a_stage_with_rewards_shows_what_became_of_them_and_not_its_loss(drawn):
    row = {"stage": "grpo", "loss": 0.0, "length": 9, "no_variance": 0.5, "lr": 1.0}
    rows = [{**row, "step": s, "expert": e, "reward": s / 10, "kl": 0.1 * s} for e in "ab" for s in (1, 2, 3)]
    found = drawn([*rows, {"step": 1, "stage": "sft", "expert": "a", "loss": 2.0}])
    assert [chart.key for chart in found] == ["reward", "kl", "length", "no_variance", "loss"]
    assert [chart.title.partition(":")[0] for chart in found] == ["grpo"] * 4 + ["sft"]
    reward, kl = found[:2]
    assert [x for x, _ in points(reward, "raw")] == [0, 50, 100]
    ys = [y for _, y in points(reward, "raw", "c1")]
    assert ys == sorted(ys, reverse=True) and reward.rate is not None and kl.rate is None


def test_named_sets_are_lines_of_their_own_beside_the_loss(drawn):
    rows = [{"step": s, "expert": "a", "loss": 4.0 - s} for s in (1, 2)]
    rows += [
        {"step": s, "expert": "a", "validation": v, "validation_loss": 3.0} for s in (0, 2) for v in ("law", "general")
    ]
    (chart,) = drawn(rows)
    assert chart.sets == ["law", "general"] and not chart.has_checks, "which of the two would it be"
    law, general = points(chart, "set0"), points(chart, "set1")
    assert [x for x, _ in law] == [0, 100] and law[0][1] == law[1][1] and law == general
    assert [x for x, _ in points(chart, "raw")] == [50, 100], "one pair of axes for both"


def test_what_a_router_did_is_drawn_too_and_several_runs_are_named(drawn):
    rows = [{"step": s, "stage": "sft", "expert": "a", "loss": 1.0, "load_cv": 0.1 / s, "entropy": 1.0} for s in (1, 2)]
    found = drawn(rows, ("one", "two"))
    assert [chart.key for chart in found] == ["loss", "load_cv", "entropy"]
    assert [name for _, name in found[1].legend] == ["one · a", "two · a"]
    assert "imbalance of the router's load" in found[1].title
