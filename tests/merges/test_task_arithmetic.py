"""The sum of the deltas, λ each."""

import pytest
import torch

from yosegi.core.expert import Expert, Factors
from yosegi.merges import merge
from yosegi.merges.task_arithmetic import task_arithmetic

E, R, I, O = 4, 2, 7, 5


def test_it_is_the_weighted_sum():
    A, B, w = torch.randn(E, R, I).double(), torch.randn(E, O, R).double(), torch.tensor([0.1, 0.2, -0.3, 0.4]).double()
    got_A, got_B = task_arithmetic(A, B, w)
    want = sum(w[e] * B[e] @ A[e] for e in range(E))
    torch.testing.assert_close(got_B @ got_A, want, atol=1e-12, rtol=0)
    assert got_A.shape == (E * R, I) and got_B.shape == (O, E * R)


def test_without_weights_every_delta_enters_once_even_where_some_lack_a_layer():
    def expert(name, layers):
        return Expert(name, {layer: Factors(torch.randn(R, I), torch.randn(O, R), 0.5) for layer in layers})

    experts = [expert("a", "xy"), expert("b", "x"), expert("c", "xy")]
    merged = merge(experts, "task_arithmetic")
    for layer in "xy":
        want = sum(e.delta(layer) for e in experts if layer in e.factors)
        torch.testing.assert_close(merged.delta(layer), want)
    assert merged.card["relative_error"] == pytest.approx(0, abs=1e-6)
    assert merged.card["training"]["weights"] == [1.0, 1.0, 1.0]
