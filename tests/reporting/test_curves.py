import json

import pytest

from yosegi.reporting.curves import smooth, stages
from yosegi.reporting.read import read


def test_the_smoothed_line_is_a_mean_that_does_not_lag():
    values = [float(i) for i in range(100)]
    assert smooth(values)[2:-2] == pytest.approx(values[2:-2])
    assert smooth([1.0] * 7) == pytest.approx([1.0] * 7)
    assert smooth([3.0, 1.0]) == [3.0, 1.0] and smooth([]) == []


def test_a_curve_has_its_rows_by_step_and_what_the_training_took(tmp_path):
    rows = [{"step": s, "seed": 0, "loss": 1.0 * s, "wall_s": 2.5 * s, "tokens_per_s": 100 * s} for s in (2, 1, 3)]
    rows += [
        {"step": 3, "seed": 0, "validation": "law", "validation_loss": 1.5, "tokens": 9},
        {"step": 1, "seed": 1, "loss": 1},
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    ((stage, (curve, other)),) = stages(read([tmp_path])).items()
    assert (stage, curve.name, other.name) == ("training", "training · seed 0", "training · seed 1")
    assert curve.points("loss") == [(1, 1.0), (2, 2.0), (3, 3.0)] and curve.sets == ["law"]
    assert (curve.last("step"), curve.time, curve.speed) == (3, 7.5, 200)
    assert curve.points("validation_loss") == [] and curve.points("validation_loss", "law", "tokens") == [(9, 1.5)]
