"""Those who learnt the task, evenly."""

import pytest
import torch

from yosegi.core.bank import Bank
from yosegi.core.context import Context
from yosegi.core.expert import Factors
from yosegi.errors import Invalid
from yosegi.routers.oracle import Oracle

I, O = 6, 5
LEARNT = [("math",), ("law", "math"), ("law",), ("food",), ()]


@pytest.fixture
def router():
    given = [Factors(torch.randn(2, I), torch.randn(O, 2)) for _ in LEARNT]
    router = Oracle()
    router.bind(Bank("abcde", LEARNT, given, (O, I)))
    return router


def test_the_experts_of_the_task_share_the_weight(router):
    w = router(torch.zeros(3, 4, I), Context(task_B=torch.tensor([2, 0, 1])))  # sorted: food, law, math
    assert w.shape == (3, 1, 1, 5)
    assert w[:, 0, 0].tolist() == [[0.5, 0.5, 0, 0, 0], [0, 0, 0, 1, 0], [0, 0.5, 0.5, 0, 0]]


def test_every_task_has_someone(router):
    w = router(torch.zeros(3, 1, I), Context(task_B=torch.arange(3)))
    assert torch.equal(w.sum(-1), torch.ones(3, 1, 1))


def test_it_needs_the_task(router):
    with pytest.raises(Invalid, match="oracle needs the task"):
        router(torch.zeros(1, 1, I), Context(expert_B=torch.tensor([0])))


def test_experts_of_no_task():
    router = Oracle()
    router.bind(Bank("a", [()], [Factors(torch.randn(2, I), torch.randn(O, 2))], (O, I)))
    assert router.table_KE.shape == (1, 1), "the row of silence alone"


def test_a_task_of_no_expert_gets_the_base():
    bank = Bank("ab", [("x",), ("y",)], [Factors(torch.randn(1, 4), torch.randn(3, 1))] * 2, (3, 4))
    router = Oracle()
    router.bind(bank)
    w = router(torch.randn(2, 5, 4), Context(torch.tensor([1, -1])))
    assert w[:, 0, 0].tolist() == [[0, 1], [0, 0]]
