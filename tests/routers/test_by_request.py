"""The expert that the request names, or the base alone."""

import pytest
import torch
from torch import nn

from yosegi.core.bank import Bank
from yosegi.core.context import Context
from yosegi.core.expert import Factors
from yosegi.core.layer import ExpertLinear
from yosegi.core.mix import factors, outputs
from yosegi.errors import Invalid
from yosegi.routers.by_request import ByRequest

I, O, E = 6, 5, 3


@pytest.fixture
def bank():
    given = [Factors(torch.randn(2, I), torch.randn(O, 2), 0.5 + e) for e in range(E)]
    return Bank("abc", [()] * E, given, (O, I))


def test_one_hot_and_silence(bank):
    router = ByRequest()
    router.bind(bank)
    w = router(torch.randn(4, 3, I), Context(expert_B=torch.tensor([2, -1, 0, 2])))
    assert w.shape == (4, 1, 1, E)
    assert w[:, 0, 0].tolist() == [[0, 0, 1], [0, 0, 0], [1, 0, 0], [0, 0, 1]]


@pytest.mark.parametrize("mix", [outputs, factors])
def test_each_sequence_is_answered_as_if_alone(bank, mix):
    context = Context(expert_B=torch.tensor([1, -1, 2]))
    layer = ExpertLinear(nn.Linear(I, O), bank, ByRequest(), mix, context=context)
    x = torch.randn(3, 4, I)
    y, base = layer(x), layer.base(x)
    assert torch.equal(y[1], base[1])  # a sequence without an expert has the base alone, to the bit
    for b, e in ((0, 1), (2, 2)):
        torch.testing.assert_close(y[b], base[b] + x[b] @ bank.factors(e).dense().T)


def test_it_needs_the_request(bank):
    router = ByRequest()
    router.bind(bank)
    with pytest.raises(Invalid, match="by_request needs the expert of each"):
        router(torch.zeros(1, 1, I), Context(task_B=torch.tensor([0])))
