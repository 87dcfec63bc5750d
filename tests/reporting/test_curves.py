import json
import re

import pytest

from yosegi.reporting import curves
from yosegi.reporting.read import read


@pytest.fixture
def charts(tmp_path):
    def write(rows):
        (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return curves.charts(read([tmp_path]))

    return write


def points(path):
    return [(float(x), float(y)) for x, y in re.findall(r"[ML](\S+?) ([-\d.]+)", path)]


def test_one_chart_a_stage_and_one_curve_an_expert(charts):
    rows = [{"step": 1, "stage": "pretrain", "loss": 3.0}]
    rows += [{"step": s, "stage": "sft", "expert": e, "loss": 2.0 / s} for e in "ab" for s in (1, 2)]
    found = charts(rows)
    assert [(c.stage, [curve.name for curve in c.curves]) for c in found] == [
        ("pretrain", ["pretrain"]),
        ("sft", ["a", "b"]),
    ]


def test_points_are_where_they_should_be(charts):
    chart = charts([{"step": s, "loss": 4.0 - s} for s in (0, 1, 2)])[0]
    path = points(chart.curves[0].raw)
    assert [x for x, _ in path] == [0, 50, 100]
    assert path[0][1] < path[1][1] < path[2][1] and path[1][1] == pytest.approx(50)
    assert chart.x_ticks[0] == (0, "0") and not chart.log


def test_a_wide_range_is_drawn_on_a_log_scale(charts):
    chart = charts([{"step": s, "loss": 10.0**-s} for s in (0, 1, 2)])[0]
    assert chart.log and points(chart.curves[0].raw)[1][1] == pytest.approx(50, abs=0.1)
    assert {"0.01", "0.1", "1"} <= {label for _, label in chart.y_ticks}


def test_the_smoothed_line_is_a_mean_that_does_not_lag():
    values = [float(i) for i in range(100)]
    assert curves.smooth(values)[2:-2] == pytest.approx(values[2:-2])
    assert curves.smooth([1.0] * 7) == pytest.approx([1.0] * 7)
    assert curves.smooth([3.0, 1.0]) == [3.0, 1.0] and curves.smooth([]) == []


def test_a_long_curve_is_thinned_and_a_spike_survives(charts):
    rows = [{"step": s, "loss": 9.0 if s == 5001 else 1.0 + s % 3 / 10} for s in range(10_000)]
    chart = charts(rows)[0]
    assert chart.thinned and len(points(chart.curves[0].raw)) <= 2 * curves.POINTS
    lowest = min(y for _, y in points(chart.curves[0].raw))
    assert lowest == pytest.approx(100 * 0.05 / 1.1, abs=0.5) or chart.log
    assert len(points(chart.curves[0].smooth)) <= curves.POINTS + 1


def test_rows_that_are_not_numbers_do_not_break_it(charts):
    assert (
        charts([{"step": 1, "loss": float("nan")}, {"loss": 1.0}, {"step": 2, "colour": 3}, {"step": "x", "loss": 1}])
        == []
    )
    chart = charts([{"step": 1, "loss": float("inf")}, {"step": 2, "loss": 1.0}])[0]
    assert len(points(chart.curves[0].raw)) == 1


def test_validation_is_dots_and_costs_are_the_last_row(charts):
    rows = [{"step": s, "loss": 1.0, "lr": 0.1 * s, "wall_s": 2.5 * s, "tokens_per_s": 100 * s} for s in (1, 2, 3)]
    chart = charts([*rows, {"step": 3, "validation_loss": 1.5}])[0]
    assert chart.has_validation and chart.curves[0].validation.count("M") == 1
    cost = curves.cost_of(chart.curves[0])
    assert cost == {"steps": 3, "first": 1.0, "end": 1.0, "validation": 1.5, "wall_s": 7.5, "speed": 200}
    assert points(chart.curves[0].rate)[-1][1] == 0


def test_ticks_are_round():
    assert curves.ticks(0, 400, 6) == [0, 100, 200, 300, 400]
    assert curves.ticks(0.13, 0.61, 5) == [0.2, 0.3, 0.4, 0.5, 0.6]
    assert curves.ticks(3, 3, 5) == [3]


def test_a_stage_with_rewards_shows_what_became_of_them_and_not_its_loss(charts):
    rows = [
        {
            "step": s,
            "stage": "grpo",
            "expert": e,
            "loss": 0.0,
            "reward": s / 10,
            "kl": 0.1 * s,
            "length": 9,
            "no_variance": 0.5,
            "lr": 1.0,
        }
        for e in "ab"
        for s in (1, 2, 3)
    ]
    found = charts([*rows, {"step": 1, "stage": "sft", "expert": "a", "loss": 2.0}])
    assert [(c.stage, c.key) for c in found] == [
        ("grpo", "reward"),
        ("grpo", "kl"),
        ("grpo", "length"),
        ("grpo", "no_variance"),
        ("sft", "loss"),
    ]
    reward, kl = found[:2]
    assert [x for x, _ in points(reward.curves[0].raw)] == [0, 50, 100]
    ys = [y for _, y in points(reward.curves[1].raw)]
    assert ys == sorted(ys, reverse=True) and not reward.log
    assert reward.leads and reward.rate_top == 1.0 and not kl.leads and kl.rate_top is None
    assert curves.cost_of(reward.curves[0]) | {"speed": None} == {
        "steps": 3, "first": 0.1, "end": pytest.approx(0.3), "validation": None, "wall_s": None, "speed": None,
    }  # fmt: skip


def test_named_sets_are_lines_of_their_own_beside_the_loss(charts):
    rows = [{"step": s, "expert": "a", "loss": 4.0 - s} for s in (1, 2)]
    rows += [
        {"step": s, "expert": "a", "validation": v, "validation_loss": 3.0} for s in (0, 2) for v in ("law", "general")
    ]
    (chart,) = charts(rows)
    assert chart.sets == ["law", "general"] and not chart.has_validation
    assert [place for place, _ in chart.curves[0].checks] == [0, 1]
    law = points(chart.curves[0].checks[0][1])
    assert [x for x, _ in law] == [0, 100] and law[0][1] == law[1][1]
    assert [x for x, _ in points(chart.curves[0].raw)] == [50, 100], "one pair of axes for both"
    assert curves.cost_of(chart.curves[0])["validation"] is None, "which of the two would it be"
