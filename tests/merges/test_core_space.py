"""Core Space against the small matrices of dense deltas, in fp64 and entry by entry."""

import pytest
import torch

from yosegi.errors import Invalid, UnknownName
from yosegi.merges import merge
from yosegi.merges._layers import Layers
from yosegi.merges.core_space import core

LAYERS = ("q", "v", "k")


def bases(experts, layer):
    """U and V of the stacked factors, and M_e of the dense deltas."""
    factors = [e.factors[layer] for e in experts]
    U = torch.linalg.svd(torch.cat([f.scale * f.B_OR.double() for f in factors], 1), full_matrices=False).U
    V = torch.linalg.svd(torch.cat([f.A_RI.double() for f in factors]), full_matrices=False).Vh
    return U, V, [U.mT @ e.delta(layer).double() @ V.mT for e in experts]


@pytest.mark.parametrize("ranks", [(2, 2, 2), (1, 3, 2)])
def test_the_small_matrices_are_those_of_the_dense_deltas(make, ranks):
    experts = [make(name, rank) for name, rank in zip("abc", ranks, strict=True)]
    for layer in Layers(experts, [1.0] * 3):
        small, U, V = core(layer)
        want_U, want_V, want = bases(experts, layer.name)
        rows, columns = (U.double() * want_U).sum(0).sign(), (V.double() * want_V).sum(1).sign()
        for e, expert in enumerate(experts):
            M = small.B_EOR[e] @ small.A_ERI[e]
            torch.testing.assert_close(M.double() * rows[:, None] * columns, want[e], atol=1e-4, rtol=1e-4)
            torch.testing.assert_close(U @ M @ V, expert.delta(layer.name), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("weights", [None, [0.6, -0.8, 0.3]])
@pytest.mark.parametrize("density", [1.0, 0.3])
def test_ties_there_is_the_loop(make, elected, weights, density):
    experts = [make(name) for name in "abc"]
    merged = merge(experts, "core_space", weights, density=density, rank="full")
    parts = {layer: bases(experts, layer) for layer in LAYERS}
    limits = []
    for e in range(3):
        flat = torch.cat([parts[n][2][e].abs().flatten() for n in LAYERS]).sort(descending=True).values
        limits.append(flat[max(1, int(density * len(flat))) - 1] * (1 - 1e-6))
    for layer in LAYERS:
        U, V, M = parts[layer]
        w = weights or [1.0] * 3
        want = U @ elected([w[e] * M[e] * (M[e].abs() >= limits[e]) for e in range(3)]) @ V
        torch.testing.assert_close(merged.delta(layer).double(), want, atol=1e-3, rtol=1e-3)


def test_a_plain_sum_is_the_same_in_any_coordinates(make):
    experts = [make("a"), make("b", 3), make("c", layers=["q", "v"])]
    one = merge(experts, "core_space", [0.2, -0.5, 1.3], by="task_arithmetic", rank="full")
    other = merge(experts, "task_arithmetic", [0.2, -0.5, 1.3])
    for layer in LAYERS:
        torch.testing.assert_close(one.delta(layer), other.delta(layer), atol=1e-4, rtol=1e-4)
    assert one.card["relative_error"] < 1e-4


def test_what_cannot_be(make):
    with pytest.raises(UnknownName, match="core_space"):
        merge([make("a")], "core_space", by="svd")
    with pytest.raises(Invalid, match="core_space by dare has no density"):
        merge([make("a")], "core_space", by="dare", density=0.5)
