"""The search: never below its baselines, resumed after a kill, by several processes, with bad trials broken off."""

import dataclasses
import os
import signal
import time
from collections import Counter
from contextlib import contextmanager

import pytest

from tests.search.conftest import go
from yosegi import files
from yosegi.core.layer import ExpertLinear
from yosegi.errors import Invalid, NotFinite
from yosegi.run import Run
from yosegi.search import probe, study
from yosegi.search.draws import DONE
from yosegi.search.settings import open_search
from yosegi.search.study import study_of
from yosegi.search.trials import best_baseline, choose, tried

BASELINES = ["base", "uniform", "a alone", "b alone", "c alone"]


@contextmanager
def forked(act):
    """Another process, which is killed when the block ends."""
    child = os.fork()
    if child == 0:
        try:
            act()
        finally:
            os._exit(0)
    try:
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def labels(found):
    from optuna.trial import TrialState

    return [t.user_attrs.get("baseline") for t in found.trials if t.state == TrialState.COMPLETE]


@pytest.mark.parametrize("sampler", ["tpe", "cmaes", "random"])
def test_the_baselines_come_first_and_nothing_ends_below_them(settings, nano, tmp_path, sampler):
    opened = open_search(settings(sampler=sampler, prune=False), nano)
    found = go(opened, Run(tmp_path / "r"), trials=4)
    assert labels(found) == [*BASELINES, None, None, None, None]
    every = tried(found, opened.space)
    best, floor = choose(every), best_baseline(every)
    assert floor is not None and best.score >= floor.score
    for one in every:
        assert one.value == pytest.approx(one.score - 0.05 * opened.space.size(one.params))
    assert not any(isinstance(m, ExpertLinear) for m in nano.model.modules())
    rows = files.read_jsonl(tmp_path / "r" / "metrics.jsonl")
    assert [row["step"] for row in rows] == list(range(9)) and rows[1]["baseline"] == "uniform"
    assert files.read_json(tmp_path / "r" / "config.json")["sampler"] == sampler


def test_a_trial_is_worth_what_a_fresh_evaluation_says(settings, nano, tmp_path):
    opened = open_search(settings(arm=["merge:cat", "merge:svd"], groups=2, prune=False), nano)
    found = go(opened, Run(tmp_path / "r"), trials=6)
    every = [one for one in tried(found, opened.space) if one.label != "base"]
    assert {one.arm.merge for one in every} == {"cat", "svd"}
    for one in every:
        with one.arm.attached(nano) as banks:
            scores = list(opened.probe.run(banks))[-1]
        for seen, wanted in zip(one.scores, scores, strict=True):
            assert seen == pytest.approx(wanted, abs=2e-4)


def test_a_row_that_was_not_written_is_written_by_the_next(settings, nano, tmp_path, monkeypatch):
    opened, run, log = open_search(settings(prune=True), nano), Run(tmp_path / "r"), Run.log
    for last in (2, 6):

        def killed(self, *rows, last=last, **row):
            if row["step"] == last:
                raise RuntimeError("killed")
            log(self, *rows, **row)

        monkeypatch.setattr(Run, "log", killed)
        with pytest.raises(RuntimeError, match="killed"):
            go(opened, run, trials=4)
    monkeypatch.setattr(Run, "log", log)
    found = go(opened, run, trials=4)
    rows = files.read_jsonl(tmp_path / "r" / "metrics.jsonl")
    assert sorted(row["step"] for row in rows) == list(range(9)) == sorted(t.user_attrs["place"] for t in found.trials)
    assert len({frozenset(row) - {"step_of"} for row in rows}) == 1


def test_what_was_killed_goes_on(settings, nano, tmp_path):
    """A process dies in the middle of a trial; the next one tidies up after it and measures nothing twice."""
    from optuna.trial import TrialState

    opened, run = open_search(settings(prune=False), nano), Run(tmp_path / "r")
    rows = run.path / "metrics.jsonl"
    with forked(lambda: go(opened, run, trials=10_000)):
        end = time.monotonic() + 60
        while time.monotonic() < end and (not rows.exists() or len(rows.read_bytes().splitlines()) < 7):
            time.sleep(0.02)
    left = study_of(opened, run.path).trials
    before = [t for t in left if t.state == TrialState.COMPLETE]
    assert len(before) >= 7
    found = go(opened, run, trials=len(before))
    after = found.trials
    assert [(t.number, t.value, t.params) for t in before] == [
        (t.number, t.value, t.params) for t in after[: len(left)] if t.number in {b.number for b in before}
    ]
    states = Counter(t.state for t in after)
    assert states[TrialState.COMPLETE] == len(before) + 5 and not states[TrialState.RUNNING]
    assert sorted(filter(None, labels(found))) == sorted(BASELINES)


def test_a_baseline_that_was_killed_is_tried_again(settings, nano, tmp_path):
    from optuna.trial import TrialState

    opened, run = open_search(settings(), nano), Run(tmp_path / "r")
    go(opened, run, trials=0, timeout=0)
    broken = study._take(
        study_of(opened, run.path), opened, study._draws(opened, 1), 0, {}
    )  # and whoever asked is gone
    assert broken.user_attrs["baseline"] == "base"
    found = go(opened, run, trials=0)
    assert found.trials[broken.number].state == TrialState.FAIL
    assert sorted(labels(found)) == sorted(BASELINES)
    assert go(opened, run, trials=0).trials == found.trials, "and then there is nothing to do"


def test_two_workers_share_one_study(settings, nano, tmp_path):
    """Both at once, on one file: nothing twice, nothing lost, and not one trial too many."""
    from optuna.trial import TrialState

    opened, run = open_search(settings(task=["skills/reverse:logp"]), nano), Run(tmp_path / "r")
    begun_by_two(opened, run)
    rows, total = run.path / "metrics.jsonl", 45
    with forked(lambda: study._worker(opened.settings, run.path, total, float("inf"))):
        end = time.monotonic() + 60
        while time.monotonic() < end and not rows.exists():
            time.sleep(0.02)
        found = go(opened, run, trials=total - 5)
        while study_of(opened, run.path).get_trials(states=(TrialState.RUNNING,)) and time.monotonic() < end:
            time.sleep(0.02)
    done = [t for t in found.trials if t.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    assert len(done) == total == len(found.trials)
    assert sorted(filter(None, labels(found))) == sorted(BASELINES)
    assert any(b.datetime_start < a.datetime_complete for a, b in zip(done, done[1:], strict=False)), "two at once"


@pytest.mark.slow
def test_workers_are_started_and_waited_for(settings, nano, tmp_path):
    from optuna.trial import TrialState

    opened, run = open_search(settings(), nano), Run(tmp_path / "r")
    found = go(opened, run, trials=3, workers=2)
    assert len(found.trials) == 8 and not [t for t in found.trials if t.state == TrialState.RUNNING]


def test_bad_trials_are_broken_off_and_baselines_never(settings, nano, tmp_path):
    from optuna.trial import TrialState

    opened = open_search(settings(rounds=4, sampler="random"), nano)
    found = go(opened, Run(tmp_path / "r"), trials=20)
    pruned = [t for t in found.trials if t.state == TrialState.PRUNED]
    whole = [t for t in found.trials if t.state == TrialState.COMPLETE]
    assert pruned and sorted(filter(None, labels(found))) == sorted(BASELINES)
    for trial in pruned:
        step = trial.last_step
        assert step < 4 and "baseline" not in trial.user_attrs and "result" not in trial.user_attrs
        before = [t.intermediate_values[step] for t in whole if t.number < trial.number]
        assert max(trial.intermediate_values.values()) < sorted(before)[(len(before) + 1) // 2]
    until = pruned[0].number + 1 - len(BASELINES)  # the same trials, up to the first that was broken off
    without = go(
        open_search(settings(rounds=4, sampler="random", prune=False), nano), Run(tmp_path / "s"), trials=until
    )
    assert without.trials[-1].params == pruned[0].params
    assert not [t for t in without.trials if t.state == TrialState.PRUNED]


def test_weights_that_break_the_model_are_no_result(settings, nano, tmp_path, monkeypatch):
    from optuna.trial import TrialState

    opened = open_search(settings(prune=False), nano)
    real, calls = probe.score_answers, []

    def breaks(*arguments, **settings):
        calls.append(1)
        if len(calls) > 20:
            raise NotFinite("The logits of nano with its experts are not finite.")
        return real(*arguments, **settings)

    monkeypatch.setattr(probe, "score_answers", breaks)
    found = go(opened, Run(tmp_path / "r"), trials=3)
    assert Counter(t.state for t in found.trials) == {TrialState.COMPLETE: 5, TrialState.PRUNED: 3}


def test_ctrl_c_ends_after_the_round_and_the_same_search_goes_on(settings, nano, tmp_path, monkeypatch):
    from optuna.trial import TrialState

    opened, run = open_search(settings(prune=False), nano), Run(tmp_path / "r")
    real, calls = study.attempt, []

    def pressed(*arguments):
        calls.append(1)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return real(*arguments)

    monkeypatch.setattr(study, "attempt", pressed)
    with pytest.raises(KeyboardInterrupt):
        go(opened, run, trials=2)
    assert not any(isinstance(m, ExpertLinear) for m in nano.model.modules())
    states = Counter(t.state for t in study_of(opened, run.path).trials)
    assert states[TrialState.COMPLETE] == 2 and states[TrialState.FAIL] == 1
    found = go(opened, run, trials=2)
    assert sorted(filter(None, labels(found))) == sorted(BASELINES) and len(labels(found)) == 7


def test_a_timeout_begins_no_trial(settings, nano, tmp_path):
    opened = open_search(settings(), nano)
    assert not labels(go(opened, Run(tmp_path / "r"), trials=2, timeout=0))


def test_another_search_in_the_same_folder_is_refused(settings, nano, tmp_path):
    run = Run(tmp_path / "r")
    go(open_search(settings(), nano), run, trials=0, timeout=0)
    kept = (run.path / "config.json").read_text()
    with pytest.raises(Invalid, match="holds another search: penalty was 0.05, is 0.1"):
        go(open_search(settings(penalty=0.1), nano), run, trials=0)
    assert (run.path / "config.json").read_text() == kept
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "study.db").write_text("not a database, but text that is long enough to be one" * 20)
    with pytest.raises(Invalid, match="is not the file of a search"):
        go(open_search(settings(), nano), Run(tmp_path / "s"))


def test_several_objectives(settings, nano, tmp_path):
    opened = open_search(settings(pareto=True), nano)
    found = go(opened, Run(tmp_path / "r"), trials=4)
    assert len(found.directions) == 2 and len(labels(found)) == 9
    for one, trial in zip(tried(found, opened.space), found.trials, strict=True):
        assert trial.values == pytest.approx([m - 0.05 * opened.space.size(one.params) for m in one.means])


def test_a_router_beside_its_baselines(settings, nano, tmp_path):
    opened = open_search(settings(arm=["arrow"], prune=False), nano)
    found = go(opened, Run(tmp_path / "r"), trials=3)
    every = tried(found, opened.space)
    assert [one.label for one in every if one.baseline] == [*BASELINES, "arrow as it is"]
    assert all(set(one.arm.router_args) == {"top_k", "temperature"} for one in every if not one.baseline)
    assert all(one.value == one.score for one in every), "a router has no weights to be punished for"


def test_a_method_that_fails_in_a_trial_says_so(settings, nano, tmp_path, monkeypatch):
    from optuna.trial import TrialState

    opened = open_search(settings(), nano)

    def refuses(*_):
        raise Invalid("no such luck")

    monkeypatch.setattr(study.Workbench, "apply", refuses)
    with pytest.raises(Invalid, match="no such luck"):
        go(opened, Run(tmp_path / "r"), trials=1)
    assert not [t for t in study_of(opened, tmp_path / "r").trials if t.state == TrialState.RUNNING]


def test_test_is_never_read(settings, nano, tmp_path, monkeypatch):
    from yosegi.tasks.skills import Skills

    real, asked = Skills.examples, []

    def watched(self, split):
        asked.append(split)
        return real(self, split)

    monkeypatch.setattr(Skills, "examples", watched)
    go(open_search(settings(), nano), Run(tmp_path / "r"), trials=2)
    assert set(asked) == {"validation"}


def begun_by_two(opened, run):
    study._join(dataclasses.replace(opened, settings=opened.settings.model_copy(update={"workers": 2})), run.path)


def parameters(found):
    """What was tried and what came of it, by place."""
    counted = [t for t in found.get_trials(deepcopy=False) if t.state in DONE]
    return [(t.params, t.values, t.state) for t in sorted(counted, key=lambda t: t.user_attrs["place"])]


@pytest.mark.parametrize("sampler", ["tpe", "cmaes", "random"])
def test_a_killed_search_ends_as_one_that_was_not(settings, nano, tmp_path, sampler):
    opened, trials = open_search(settings(sampler=sampler, rounds=3), nano), 10
    whole = go(opened, Run(tmp_path / "whole"), trials=trials)
    run = Run(tmp_path / "killed")
    rows = run.path / "metrics.jsonl"
    for stop in (3, 9, 13):
        with forked(lambda: go(opened, run, trials=trials)):
            end = time.monotonic() + 60
            while time.monotonic() < end and (not rows.exists() or len(rows.read_bytes().splitlines()) < stop):
                time.sleep(0.005)
    found = go(opened, run, trials=trials)
    assert parameters(found) == parameters(whole) and len(parameters(found)) == trials + len(BASELINES)
    one, other = (choose(tried(study_, opened.space)) for study_ in (found, whole))
    assert (one.label, one.params, one.value) == (other.label, other.params, other.value)


@pytest.mark.parametrize("sampler", ["tpe", "cmaes"])
def test_two_workers_find_the_same_whoever_is_faster(settings, nano, tmp_path, monkeypatch, sampler):
    """Now the one is slow and now the other, and in the second search one of them is killed in the middle."""
    opened, trials = open_search(settings(sampler=sampler, rounds=3, task=["skills/reverse:logp"]), nano), 8
    real, total, ends = study.attempt, trials + len(BASELINES), []

    def search_by_two(run, slow, killed):
        monkeypatch.setattr(study, "attempt", lambda trial, *more: (time.sleep(slow(trial)), real(trial, *more))[1])
        rows = run.path / "metrics.jsonl"
        begun_by_two(opened, run)
        with forked(lambda: study._worker(opened.settings, run.path, total, float("inf"))):
            end = time.monotonic() + 60
            while killed and time.monotonic() < end and (not rows.exists() or len(rows.read_bytes().splitlines()) < 6):
                time.sleep(0.01)
            if not killed:
                go(opened, run, trials=trials)
        go(opened, run, trials=trials)
        return parameters(study_of(opened, run.path))

    for n in range(2):
        slow = lambda trial, n=n: 0.1 * ((trial.user_attrs["place"] + n) % 3 == 0)  # noqa: E731
        ends.append(search_by_two(Run(tmp_path / str(n)), slow, bool(n)))
    assert ends[0] == ends[1] and len(ends[0]) == total
