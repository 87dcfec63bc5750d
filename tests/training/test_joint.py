"""Experts and their router learn together, or the router alone; what comes out is a library's bank."""

import dataclasses

import pytest
import torch

from tests.training.conftest import sums, tiny_base
from tests.training.test_sft import flat
from yosegi.engine.arm import Arm
from yosegi.engine.score import score_answers
from yosegi.errors import Diverged, Invalid
from yosegi.routers.task_table import TaskTable
from yosegi.run import Run
from yosegi.training.joint import fresh_bank, joint
from yosegi.training.settings import Settings

QUICK = Settings(max_steps=10, per_device_train_batch_size=8, learning_rate=5e-3, dropout=0, rank=2, save_steps=4)
DATA = {"low": sums()[:40], "high": sums()[60:]}


def start(base, size=3):
    return fresh_bank(base, "p", size, list(DATA), QUICK)


def go(folder, base=None, experts=None, settings=QUICK, heads=1, **more):
    base = base or tiny_base()
    arguments = {"name": "p", "heads": heads, "router_learning_rate": 0.1, **more}
    return joint(base, experts or start(base), TaskTable(heads), DATA, Run(folder), settings, **arguments)


@pytest.mark.parametrize("heads", [1, 4])
def test_both_learn(tmp_path, heads):
    base = tiny_base()
    before = {name: tensor.clone() for name, tensor in base.model.state_dict().items()}
    experts, learnt = go(tmp_path, base, heads=heads)
    assert all(torch.equal(tensor, before[name]) for name, tensor in base.model.state_dict().items())
    assert [e.name for e in experts] == ["p-0", "p-1", "p-2"] and all(e.tasks == ("low", "high") for e in experts)
    assert len({e.card["init_seed"] for e in experts}) == 3 and experts[0].card["recipe"]["mix"] == "factors"
    assert all(flat(e).abs().max() > 0 for e in experts) and not torch.equal(flat(experts[0]), flat(experts[1]))
    assert len(learnt) == len(experts[0].factors) and all(t.shape == (2, heads, 3) for t in learnt.values())
    assert max(t.abs().max() for t in learnt.values()) > 0.05, "the table moved"
    examples = [e for some in DATA.values() for e in some]
    arm = Arm("p", experts, "task_table", {"heads": heads}, learnt, "factors", heads)
    with arm.attached(base) as banks:
        tasks = [task for task, some in DATA.items() for _ in some]
        with_experts = score_answers(base, examples, banks=banks, known={"tasks": tasks})
    assert sum(with_experts) > sum(score_answers(base, examples)) + 0.1 * len(examples)


def test_the_router_alone(tmp_path):
    base = tiny_base()
    experts, learnt = go(tmp_path / "a", base)
    known = [dataclasses.replace(e, card={**e.card, "task": ["new"]}) for e in experts]
    begin = {name: value.mean(0, keepdim=True) for name, value in learnt.items()}
    same, table = joint(
        base, known, TaskTable(), {"new": sums()[:20]}, Run(tmp_path / "b"), QUICK,
        name="z", router_learning_rate=0.1, learnt=begin, router_only=True,
    )  # fmt: skip
    assert all(torch.equal(flat(a), flat(b)) for a, b in zip(same, experts, strict=True))
    assert all(value.shape == (1, 1, 3) for value in table.values())
    assert any((table[name] - begin[name]).abs().max() > 1e-2 for name in table)


def test_the_router_has_a_rate_of_its_own(tmp_path):
    base = tiny_base()
    experts, learnt = go(tmp_path / "a", base)
    still = QUICK.model_copy(update={"learning_rate": 1e-12})
    same, moved = go(tmp_path / "b", base, experts, still, learnt=learnt, fresh=False)
    for a, b in zip(experts, same, strict=True):
        torch.testing.assert_close(flat(a), flat(b), rtol=0, atol=1e-7)
    assert max((moved[name] - learnt[name]).abs().max() for name in learnt) > 0.05


def test_killed_and_resumed(tmp_path, monkeypatch):
    whole = go(tmp_path / "whole")
    log = Run.log

    def die(self, *rows):
        log(self, *rows)
        if rows[0]["step"] == 7:
            raise RuntimeError("killed")

    monkeypatch.setattr(Run, "log", die)
    with pytest.raises(RuntimeError, match="killed"):
        go(tmp_path / "cut")
    monkeypatch.setattr(Run, "log", log)
    assert (tmp_path / "cut" / "checkpoint" / "p" / "state.json").exists()
    cut = go(tmp_path / "cut")
    for a, b in zip(whole[0], cut[0], strict=True):
        assert torch.equal(flat(a), flat(b))
    assert all(torch.equal(whole[1][name], cut[1][name]) for name in whole[1])
    with pytest.raises(Invalid, match="another training"):
        monkeypatch.setattr(Run, "log", die)
        with pytest.raises(RuntimeError):
            go(tmp_path / "other")
        monkeypatch.setattr(Run, "log", log)
        go(tmp_path / "other", mix="outputs")


def test_diverged_is_said(tmp_path):
    with pytest.raises(Diverged, match="'p'.*stopped being finite"):
        go(tmp_path, settings=QUICK.model_copy(update={"learning_rate": 1e30, "max_steps": 30}))


def test_the_same_twice_and_what_is_trained_is_not_taken_for_a_start(tmp_path):
    once, again = (go(tmp_path / name) for name in "ab")
    assert all(torch.equal(flat(x), flat(y)) for x, y in zip(once[0], again[0], strict=True))
    assert all(torch.equal(once[1][key], again[1][key]) for key in once[1])
    with pytest.raises(Invalid, match="'p-0' is trained already"):
        go(tmp_path / "c", experts=once[0])
    further, _ = go(tmp_path / "c", experts=once[0], fresh=False)
    assert all((flat(x) - flat(y)).abs().max() > 0 for x, y in zip(once[0], further, strict=True))
