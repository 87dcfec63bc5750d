"""What is said of routers, from weights worked by hand."""

from math import sqrt

import pytest

from yosegi.bases import load
from yosegi.run import Run
from yosegi.study import Study, read
from yosegi.study.banks import (
    ablate,
    ablation_finding,
    apart,
    end,
    load_finding,
    over,
    own_type,
    read_routes,
    routes_finding,
    weight_maps,
)
from yosegi.training.loramoe import LoraMoeSettings, loramoe


def test_an_interval_over_seeds():
    assert over([]) is None and over([0.5]).value == 0.5 and over([0.5]).low is None
    found = over([1.0, 2.0, 3.0])
    assert found.value == 2 and found.high - 2 == pytest.approx(4.3027 / sqrt(3), abs=1e-3)


def test_the_end_of_a_training():
    assert end([{"load_cv": cv} for cv in (*[0.0] * 8, 1.0, 2.0)], "load_cv") == 1.5


def test_weights_apart():
    assert apart([[1, 0], [0.5, 0.5]], [[0, 1], [0.5, 0.5]]) == 0.5


def test_a_collapse_is_seen_in_the_load(tmp_path):
    run = Run(tmp_path)
    for seed in range(3):
        run.log(*({"step": n, "expert": f"bad s{seed}", "load_cv": 0.5 * n, "ce": 1.0} for n in range(1, 6)))
    found = load_finding(run, {"bad": [f"bad s{seed}" for seed in range(3)], "gone": ["gone s0"]}, size=6)
    (bad, gone) = found.table.rows
    assert (
        bad[1].value == 2.5
        and bad[2].value == pytest.approx(6 / 7.25, abs=1e-4)
        and bad[3] is None
        and bad[5].value == 1
    )
    assert gone == ["gone"] + [None] * 5 and [s.name for s in found.figure.series] == ["bad"]
    assert found.figure.series[0].points[-1] == (5, 2.5, 2.5, 2.5)


def test_who_is_active_and_how_far_kinds_lie_apart():
    easy, hard = [[0.9, 0.1]], [[0.5, 0.5]]
    weights = {"easy": easy, "easy, others": [[0.8, 0.2]], "hard": hard, "hard, others": hard}
    one = {"tasks": weights, "cv": dict.fromkeys(weights, [0.4]), "entropy": dict.fromkeys(weights, [0.2])}
    found = routes_finding({0: {"bank": one}, 1: {"bank": one}}, [0, 1], {"easy and hard": ("easy", "hard")})
    assert [row[:2] for row in found.table.rows] == [["bank", "easy"], ["bank", "hard"]]
    assert found.table.rows[0][2].value == 0.9 and found.table.rows[1][2].value == 0.5
    assert "easy and hard 0.400" in found.text[0] and "two samples of one kind 0.050" in found.text[0]


def test_a_heat_map_for_each_kind_and_one_for_each_difference():
    weights = {"easy en": [[0.9, 0.1]], "easy en, others": [[1, 0]], "hard en": [[0.5, 0.5]]}
    pairs = [("easy en", "hard en"), ("easy ja", "hard ja")]
    easy, hard, difference = weight_maps(
        {"tasks": weights, "layers": ["model.layers.0.up"]}, ["0 (easy)", "1 (hard)"], pairs
    )
    assert (easy.figure.values, hard.figure.values) == (weights["easy en"], weights["hard en"])
    assert difference.figure.values == [[-0.4, 0.4]] and difference.heading == "Routing weights, hard en less easy en"
    assert easy.figure.rows == ["layers.0.up"] and easy.figure.columns == ["0 (easy)", "1 (hard)"]


def test_a_real_bank_is_read_and_ablated_once(tmp_path, monkeypatch):
    study = Study(load("nano"), Run(tmp_path))
    data = {
        kind: {f"skills/{name}": read(f"skills/{name}", "train", 6)}
        for kind, name in (("easy", "last"), ("hard", "chain"))
    }
    how = LoraMoeSettings(rank=2, max_steps=2, per_device_train_batch_size=2, learning_rate=1e-2)
    arm = study.keep("bank", 0, lambda name: loramoe(study.base, data, study.run, how, experts=2, name=name))
    cells = {name: read(f"skills/{name}", "test", 2) for name in ("last", "chain")}
    routes = read_routes(study, {"bank": arm}, cells, 0)
    assert set(routes["bank"]["tasks"]) == set(cells)
    assert sum(routes["bank"]["tasks"]["last"][0]) == pytest.approx(1, abs=1e-3)
    worth = ablate(study, arm, cells, ["0 (easy)", "1 (hard)"], 0)
    monkeypatch.setattr(study, "logps", lambda *a: pytest.fail("asked twice"))
    assert ablate(study, arm, cells, [], 0) == worth and list(worth) == ["all", "without 0 (easy)", "without 1 (hard)"]
    found = ablation_finding({0: worth, 1: worth})
    change = sum(worth["without 0 (easy)"]["last"]) / 2 - sum(worth["all"]["last"]) / 2
    assert found.figure.values[0][0] == pytest.approx(change, abs=1e-4) == found.table.rows[0][1].value


def test_a_collapse_is_called_one_and_noise_is_not(tmp_path):
    run = Run(tmp_path)
    for arm, cvs in {"high": (2.0, 2.1, 2.05), "low": (0.2, 0.1, 0.3), "ours": (0.1, 0.1, 0.12)}.items():
        run.log(*({"step": 1, "expert": f"{arm} s{seed}", "load_cv": cv} for seed, cv in enumerate(cvs)))
    experts = {arm: [f"{arm} s{seed}" for seed in range(3)] for arm in ("high", "low", "ours")}
    assert (
        "This is a collapse: high ends as uneven as 1.2 of 6"
        in load_finding(run, experts, 6, ("high", "ours")).text[-1]
    )
    low = load_finding(run, experts, 6, ("low", "ours")).text[-1]
    assert "This is no collapse" in low and "(-0." in low, "the interval reaches below 0"


def test_experts_that_serve_their_own_type():
    worth = {
        "all": {"easy en": [0.0, 0.0], "hard en": [0.0], "known": [0.0]},
        "without 0 (easy)": {"easy en": [-1.0, -2.0], "hard en": [-0.1], "known": [0.0]},
        "without 1 (hard)": {"easy en": [-0.2, -0.2], "hard en": [-3.0], "known": [0.0]},
    }
    found = own_type({0: worth, 1: worth}, ["easy", "hard"], [0, 1])
    assert found.scores["without its own type"][1] == [-1.0, -2.0, -3.0]
    assert found.scores["without another type"][0] == [-0.2, -0.2, -0.1]
    assert own_type({}, ["easy", "hard"], [0, 1]).scores["without its own type"] == {}
