"""CMA-ES that keeps nothing but the trials: it finds a minimum, and a restart goes on exactly where it was."""

import math

import pytest

from yosegi.search.cma import SIGMA, Evolution
from yosegi.search.space import FloatDistribution, IntDistribution
from yosegi.search.study import open_storage

VARIED = {
    "w a": FloatDistribution(-1.5, 1.5),
    "w b": FloatDistribution(0.0, 1.5),
    "temperature": FloatDistribution(0.1, 10, log=True),
    "k": IntDistribution(1, 8),
}
START = {"w a": 0.0, "w b": 0.5, "temperature": 1.0, "k": 4}


@pytest.fixture(autouse=True)
def quiet_optuna():
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)


def value(params):
    return -(
        (params["w a"] - 1) ** 2
        + (params["w b"] - 0.25) ** 2
        + math.log(params["temperature"] / 3) ** 2
        + 0.1 * (params["k"] - 6) ** 2
    )


def suggest(trial):
    found = {n: trial.suggest_float(n, r.low, r.high, log=r.log) for n, r in VARIED.items() if n != "k"}
    return found | {"k": trial.suggest_int("k", 1, 8)}


def run(study, trials):
    for _ in range(trials):
        trial = study.ask()
        study.tell(trial, value(suggest(trial)))


def study_with(seed=0, storage=None):
    import optuna

    return optuna.create_study(
        storage=storage,
        study_name="s",
        direction="maximize",
        sampler=Evolution(VARIED, START, seed),
        load_if_exists=True,
    )


def test_it_finds_the_minimum_and_beats_chance():
    import optuna

    study = study_with()
    run(study, 200)
    by_chance = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(0))
    run(by_chance, 200)
    assert study.best_value > -0.01 > by_chance.best_value
    for trial in study.trials:
        assert all(r.low <= trial.params[n] <= r.high for n, r in VARIED.items()) and trial.params["k"] in range(1, 9)


def test_a_restart_goes_on_where_it_was_and_nothing_is_pickled(tmp_path):
    storage = open_storage(tmp_path / "s.db")
    whole = study_with()
    run(whole, 30)
    for _ in range(3):
        run(study_with(storage=storage), 10)
    parts = study_with(storage=storage)
    assert [t.params for t in parts.trials] == [t.params for t in whole.trials]
    kept = [t.system_attrs for t in parts.trials] + [storage.get_study_system_attrs(parts._study_id)]
    assert not any(kept), "no state beside the trials"


def test_it_begins_at_the_start_with_a_sixth(tmp_path):
    study = study_with()
    evolution = study.sampler
    optimiser = evolution.replay(study)
    assert optimiser.mean.tolist() == pytest.approx([0.5, 1 / 3, 0.5, 3 / 7])
    assert optimiser._sigma == pytest.approx(SIGMA / 3), "of a weight, whose range is 3 long"


def test_baselines_and_failures_are_not_its_own():
    import optuna

    study = study_with()
    study.enqueue_trial({"w a": 1.0, "w b": 0.25, "temperature": 3.0, "k": 6}, {"baseline": "told"})
    run(study, 1)
    study.tell(study.ask(), state=optuna.trial.TrialState.FAIL)
    n = study.sampler.replay(study).population_size
    run(study, n - 1)
    assert study.sampler.replay(study).generation == 0
    trial = study.ask()
    suggest(trial)
    trial.report(-5.0, 1)
    study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    assert study.sampler.replay(study).generation == 1, "one that was broken off counts by what it was worth"
