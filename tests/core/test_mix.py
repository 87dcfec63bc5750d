"""The two mixes, held against loops over experts and heads."""

import pytest
import torch

from tests.conftest import each
from yosegi.core.mix import MIXES, factors, named, outputs
from yosegi.errors import UnknownName

B, T, H, E, R = 2, 3, 4, 5, 2


def draw(*shape):
    return torch.randn(*shape, dtype=torch.float64)


@each("leading", [(), (B, 1), (B, T)])
@each("heads", [1, H])
def test_outputs_weighs_each_expert_alone(leading, heads):
    z, w = draw(B, T, heads, E, R), draw(*leading, heads, E)
    full = w.expand(B, T, heads, E)
    want = torch.zeros(B, T, heads, E, R, dtype=torch.float64)
    for h in range(heads):
        for e in range(E):
            read = sum(z[:, :, g, e] for g in range(heads))  # every head of the output reads the whole input
            want[:, :, h, e] = full[:, :, h, e, None] * read
    torch.testing.assert_close(outputs(z, w), want, atol=1e-12, rtol=0)


@each("leading", [(), (B, 1), (B, T)])
@each("heads", [1, H])
def test_factors_weighs_on_the_way_in_and_on_the_way_out(leading, heads):
    z, w = draw(B, T, heads, E, R), draw(*leading, heads, E)
    full = w.expand(B, T, heads, E)
    read = torch.zeros(B, T, R, dtype=torch.float64)
    for h in range(heads):
        for e in range(E):
            read += full[:, :, h, e, None] * z[:, :, h, e]
    want = torch.stack([torch.stack([full[:, :, h, e, None] * read for e in range(E)], 2) for h in range(heads)], 2)
    torch.testing.assert_close(factors(z, w), want, atol=1e-12, rtol=0)


def test_one_hot_weights_make_the_mixes_equal():
    z, w = draw(B, T, 1, E, R), torch.eye(E, dtype=torch.float64)[2][None]
    torch.testing.assert_close(outputs(z, w), factors(z, w), atol=0, rtol=0)


def test_factors_is_quadratic_in_the_weights_and_outputs_linear():
    z, w = draw(B, T, 1, E, R), draw(1, E)
    torch.testing.assert_close(factors(z, 3 * w), 9 * factors(z, w))
    torch.testing.assert_close(outputs(z, 3 * w), 3 * outputs(z, w))


def test_every_mix_answers_to_its_name():
    assert {name: named(name) for name in MIXES} == {"outputs": outputs, "factors": factors}


def test_unknown_name():
    with pytest.raises(UnknownName, match="No mix is called 'output'. Did you mean 'outputs'"):
        named("output")
