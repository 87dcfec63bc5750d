"""Trackers get what metrics.jsonl gets; a missing one is said before a training begins, a failing one does not end it."""

import sys
import types
from importlib.machinery import ModuleSpec

import pytest

from yosegi.errors import MissingExtra, UnknownName
from yosegi.files import read_jsonl
from yosegi.run import Run
from yosegi.trackers import report_to

ROWS = [{"step": 1, "stage": "sft", "expert": "a", "loss": 2.5, "well": True}, {"step": 2, "expert": "a", "loss": 1.5}]


@pytest.fixture
def fake(monkeypatch):
    """fake("wandb"): a module of that name that notes what it is asked."""

    def make(name, log=None):
        module, calls = types.ModuleType(name), []
        module.__spec__ = ModuleSpec(name, None)
        module.init = lambda **given: calls.append(("init", given))
        module.log = log or (lambda values: calls.append(("log", values)))
        module.finish = lambda: calls.append(("finish",))
        monkeypatch.setitem(sys.modules, name, module)
        return calls

    return make


def curves(folder):
    """The scalars of a run's event files, by name."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    return {tag: [(one.step, one.value) for one in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_tensorboard_has_every_number(tmp_path):
    with report_to(["tensorboard", "tensorboard", "none"]):
        Run(tmp_path / "r").log(*ROWS)
        Run(tmp_path / "r").log(step=3, stage="search", value=0.5)
    Run(tmp_path / "r").log(step=4, value=0.1)
    assert curves(tmp_path / "r") == {"a/loss": [(1, 2.5), (2, 1.5)], "value": [(3, 0.5)]}
    assert len(read_jsonl(tmp_path / "r" / "metrics.jsonl")) == 4


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_the_others_get_runs_with_their_config(name, fake, tmp_path):
    calls = fake(name)
    with report_to(name):
        Run(tmp_path / "r", {"command": "train", "rank": 4}).log(*ROWS)
    assert calls[0] == ("init", {"project": "yosegi", "name": "r", "config": {"command": "train", "rank": 4}})
    assert calls[1:] == [("log", {"a/loss": 2.5, "step": 1}), ("log", {"a/loss": 1.5, "step": 2}), ("finish",)]


def test_one_that_fails_does_not_end_the_training(fake, tmp_path):
    def broken(values):
        raise ConnectionError("no\nroute")

    calls = fake("wandb", broken)
    with report_to(["wandb", "tensorboard"]), pytest.warns(UserWarning, match=r"wandb takes no more rows \(no route\)"):
        Run(tmp_path / "r").log(*ROWS)
    assert calls[-1] == ("finish",) and len(curves(tmp_path / "r")["a/loss"]) == 2
    assert len(read_jsonl(tmp_path / "r" / "metrics.jsonl")) == 2


def test_what_is_missing_is_said_beforehand(monkeypatch):
    monkeypatch.setattr("yosegi.trackers.find_spec", lambda name: None)
    for name, line in (("wandb", "pip install wandb"), ("tensorboard", r"pip install 'yosegi-lora\[track\]'")):
        with pytest.raises(MissingExtra, match=line), report_to([name]):
            raise AssertionError("it has begun")
    with pytest.raises(UnknownName, match="Did you mean 'wandb'"), report_to("wanb"):
        pass
