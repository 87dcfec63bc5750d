"""Every initialiser of the drawer: right shapes, drawn from its generator alone, and no delta at step 0."""

import pytest
import torch
from torch import Generator, nn

from yosegi import registry
from yosegi.core.bank import Bank
from yosegi.core.expert import Factors
from yosegi.core.layer import ExpertLinear
from yosegi.routers.uniform import Uniform

INITS = registry.names("inits")
SHAPES = [(20, 12), (12, 20), (16, 16)]
RANK, SCALE = 4, 2.0


def test_the_drawer_was_walked():
    assert len(INITS) >= 5


@pytest.fixture(params=INITS)
def init(request):
    return registry.find("inits", request.param)


@pytest.fixture(params=SHAPES)
def linear(request):
    O, I = request.param
    return nn.Linear(I, O)


def start(init, linear, seed=0):
    return init(linear.weight.detach(), RANK, SCALE, Generator().manual_seed(seed))


def test_shapes_and_dtype(init, linear):
    A, B = start(init, linear)
    O, I = linear.weight.shape
    assert A.shape == (RANK, I) and B.shape == (O, RANK)
    assert A.dtype == B.dtype == torch.float32 and A.isfinite().all() and B.isfinite().all()
    assert A.any(1).all()  # a row of zeros could never learn from B = 0


def test_the_output_is_unchanged_at_step_0(init, linear):
    A, B = start(init, linear)
    layer = ExpertLinear(linear, Bank("a", [()], [Factors(A, B, SCALE)], tuple(linear.weight.shape)), Uniform())
    layer.bank.set_origin()
    x = torch.randn(3, 5, linear.in_features)
    torch.testing.assert_close(layer(x), linear(x), atol=1e-5, rtol=1e-5)
    loss = layer(x).square().sum()
    loss.backward()
    assert layer.bank.A_ERI.grad.any() or layer.bank.B_EOR.grad.any()  # and yet it can learn


def test_the_generator_alone_decides(init, linear):
    torch.manual_seed(1)
    one = start(init, linear)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    other = start(init, linear)
    assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])
    assert torch.equal(torch.get_rng_state(), state)


def test_w_is_only_read(init, linear):
    before = linear.weight.detach().clone()
    A, B = start(init, linear)
    A.zero_()
    B.zero_()
    assert torch.equal(linear.weight, before)
