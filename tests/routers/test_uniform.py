"""All experts with equal weights: one is itself, several are their average."""

import torch
from torch import nn

from tests.conftest import each
from yosegi.core.bank import Bank
from yosegi.core.context import Context
from yosegi.core.expert import Factors
from yosegi.core.layer import ExpertLinear
from yosegi.core.mix import factors, outputs
from yosegi.routers.uniform import Uniform

I, O = 6, 5


def make(present):
    given = [Factors(torch.randn(2, I), torch.randn(O, 2), 0.5) if p else None for p in present]
    return Bank([str(e) for e in range(len(present))], [()] * len(present), given, (O, I))


@each("present", [[1], [1, 1, 1], [1, 0, 1, 0], [0, 1]])
def test_shared_among_those_that_have_the_layer(present):
    router = Uniform()
    router.bind(make(present))
    w = router(torch.randn(2, 3, I), Context())
    assert w.shape == (1, len(present))
    torch.testing.assert_close(w[0], torch.tensor(present) / sum(present))


@each("mix", [outputs, factors])
def test_is_the_average(mix):
    bank = make([1, 0, 1])
    layer = ExpertLinear(nn.Linear(I, O), bank, Uniform(), mix)
    x, (one, _, two) = torch.randn(2, 3, I), [bank.factors(e) for e in range(3)]
    if mix is outputs:
        delta = (one.dense() + two.dense()) / 2
    else:
        delta = 0.5 * (one.B_OR + two.B_OR) / 2 @ (one.A_RI + two.A_RI) / 2
    torch.testing.assert_close(layer(x), layer.base(x) + x @ delta.T)


def test_a_second_bank_replaces_the_first():
    router = Uniform()
    router.bind(make([1, 1]))
    router.bind(make([1, 1, 1, 1]))
    assert router(torch.zeros(1, I), Context()).tolist() == [[0.25] * 4]
