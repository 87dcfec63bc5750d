"""What `loramoe` says of its routers."""

import dataclasses
from math import sqrt

import pytest

from yosegi.recipes._moe_data import bank, read
from yosegi.recipes._moe_routes import apart, collapse, curve, end, over
from yosegi.recipes.loramoe import SMOKE


def rows(*cvs):
    return [{"step": n + 1, "load_cv": cv} for n, cv in enumerate(cvs)]


def test_an_interval_over_seeds():
    assert over([]) is None and over([0.5]) == {"value": 0.5}
    found = over([1.0, 2.0, 3.0])
    assert found["value"] == 2 and found["high"] - 2 == pytest.approx(4.3027 / sqrt(3), abs=1e-3)


def test_the_end_of_a_training_and_its_curve():
    assert end(rows(*[0.0] * 8, 1.0, 2.0), "load_cv") == 1.5 and end(rows(1.0), "match_mass") is None
    assert curve([rows(0.0, 1.0), rows(1.0, 1.0)]) == [[1, 0.5, 0.0, 1.0], [2, 1.0, 1.0, 1.0]]


def test_weights_apart():
    assert apart([[1, 0], [0.5, 0.5]], [[0, 1], [0.5, 0.5]]) == 0.5


def test_a_collapse_is_called_one_and_noise_is_not():
    config, plan = dataclasses.replace(SMOKE, experts=6), read(SMOKE)

    def said(plain, ours):
        told = {
            bank(beta, "mixed"): {s: rows(cv) for s, cv in enumerate(some)} for beta, some in ((0, plain), (0.1, ours))
        }
        return " ".join(collapse(config, plan, told))

    high = said([2.0, 2.1, 2.05], [0.1, 0.1, 0.12])
    assert "This is a collapse" in high and "keeps it lower" in high
    low = said([0.2, 0.1, 0.3], [0.1, 0.3, 0.2])
    assert "This is no collapse" in low and "inside the noise" in low
    assert "no interval" in said([0.2], [0.1])


def test_a_cv_that_many_experts_can_reach():
    config, plan = dataclasses.replace(SMOKE, experts=16), read(SMOKE)
    told = {bank(beta, "mixed"): {0: rows(0.5)} for beta in (0, 0.1)}
    assert collapse(config, plan, told)[-1].endswith("The paper reports a CV of about 3.")
