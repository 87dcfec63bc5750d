"""Experts and their router learn together, or the router alone; what comes out is a library's bank."""

import dataclasses

import pytest
import torch

from tests.training.conftest import flat, sums, tiny_base
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
    arm = go(tmp_path, base, heads=heads)
    experts, learnt = arm.experts, arm.router_state
    assert all(torch.equal(tensor, before[name]) for name, tensor in base.model.state_dict().items())
    assert [e.name for e in experts] == ["p-0", "p-1", "p-2"] and all(e.tasks == ("low", "high") for e in experts)
    assert len({e.card["init_seed"] for e in experts}) == 3 and experts[0].card["training"]["mix"] == "factors"
    assert all(flat(e).abs().max() > 0 for e in experts) and not torch.equal(flat(experts[0]), flat(experts[1]))
    assert len(learnt) == len(experts[0].factors) and all(t.shape == (2, heads, 3) for t in learnt.values())
    assert max(t.abs().max() for t in learnt.values()) > 0.05, "the table moved"
    examples = [e for some in DATA.values() for e in some]
    assert (arm.router, arm.router_args["heads"], arm.mix, arm.heads) == ("task_table", heads, "factors", heads)
    with arm.attached(base) as banks:
        tasks = [task for task, some in DATA.items() for _ in some]
        with_experts = score_answers(base, examples, banks=banks, known={"tasks": tasks})
    assert sum(with_experts) > sum(score_answers(base, examples)) + 0.1 * len(examples)


def test_the_router_alone(tmp_path):
    base = tiny_base()
    first = go(tmp_path / "a", base)
    experts, learnt = first.experts, first.router_state
    known = [dataclasses.replace(e, card={**e.card, "task": ["new"]}) for e in experts]
    begin = {name: value.mean(0, keepdim=True) for name, value in learnt.items()}
    new = joint(
        base, known, TaskTable(), {"new": sums()[:20]}, Run(tmp_path / "b"), QUICK,
        name="z", router_learning_rate=0.1, state=begin, router_only=True,
    )  # fmt: skip
    table = new.router_state
    assert all(torch.equal(flat(a), flat(b)) for a, b in zip(new.experts, experts, strict=True))
    assert all(value.shape == (1, 1, 3) for value in table.values())
    assert any((table[name] - begin[name]).abs().max() > 1e-2 for name in table)


def test_the_router_has_a_rate_of_its_own(tmp_path):
    base = tiny_base()
    first = go(tmp_path / "a", base)
    experts, learnt = first.experts, first.router_state
    still = QUICK.model_copy(update={"learning_rate": 1e-12})
    second = go(tmp_path / "b", base, experts, still, state=learnt)
    moved = second.router_state
    for a, b in zip(experts, second.experts, strict=True):
        torch.testing.assert_close(flat(a), flat(b), rtol=0, atol=1e-7)
    assert max((moved[name] - learnt[name]).abs().max() for name in learnt) > 0.05


def test_diverged_is_said(tmp_path):
    with pytest.raises(Diverged, match="'p': the (loss|gradient) is .* at step"):
        go(tmp_path, settings=QUICK.model_copy(update={"learning_rate": 1e30, "max_steps": 30}))


def test_the_same_twice_and_what_is_trained_is_not_taken_for_a_start(tmp_path):
    once, again = (go(tmp_path / name) for name in "ab")
    assert all(torch.equal(flat(x), flat(y)) for x, y in zip(once.experts, again.experts, strict=True))
    assert all(torch.equal(once.router_state[key], again.router_state[key]) for key in once.router_state)
    base = tiny_base()
    with pytest.raises(Invalid, match="'p-0' is trained already, and others of this bank are not"):
        go(tmp_path / "c", base, [*once.experts[:2], start(base)[2]])
    further = go(tmp_path / "c", experts=once.experts)
    assert all((flat(x) - flat(y)).abs().max() > 0 for x, y in zip(once.experts, further.experts, strict=True))
