"""The pace of a training, and what it allows the quicker ones."""

import time

import pytest

from yosegi import files
from yosegi.bases import load
from yosegi.study.pace import cost_finding, equal_time, measure_pace


def busy(seconds):
    def training(run, steps):
        for step in range(steps):
            end = time.process_time() + seconds
            while time.process_time() < end:
                pass
            run.log(step=step)

    return training


def test_the_slower_takes_longer_and_nothing_is_timed_twice(tmp_path):
    path = tmp_path / "pace.json"
    found = measure_pace(path, load("nano"), {"quick": busy(0.01), "slow": busy(0.03)}, steps=2)
    assert found["quick"]["seconds"] == pytest.approx(0.01, rel=0.5) and found["slow"]["seconds"] == pytest.approx(
        0.03, rel=0.5
    )
    assert measure_pace(path, load("nano"), {}, 2) == found == files.read_json(path)


def test_the_peak_counts_what_is_held_at_once(tmp_path):
    import torch

    def training(run, steps):
        for step in range(steps):
            torch.zeros(steps * 2**18)  # a megabyte for each step that is asked for
            run.log(step=step)

    found = measure_pace(tmp_path / "pace.json", load("nano"), {"a": training}, steps=1)
    assert found["a"]["peak_mb"] == pytest.approx(2, rel=0.1)


@pytest.mark.parametrize(("seconds", "steps"), [(1.0, None), (1.01, None), (0.5, None), (1.5, 150)])
def test_what_is_quicker_gets_more_steps(seconds, steps):
    pace = {"lora": {"seconds": 1.0}, "bank": {"seconds": seconds}}
    assert equal_time(pace, "lora", "bank", 100) == steps


def test_the_cost_of_every_arm():
    pace = {"a": {"seconds": 0.5, "peak_mb": 20.0}}
    found = cost_finding(pace, {"a": {"steps": 3, "wall_s": 1.0}, "b": {}}, predicted={"a": 30.0})
    assert found.table.rows[0] == ["a", None, 3, None, 1.0, 500.0, 20.0, 30.0, 1.5]
    assert found.table.rows[1] == ["b"] + [None] * 8
    assert len(cost_finding({}, {"a": {}}).table.columns) == 7
