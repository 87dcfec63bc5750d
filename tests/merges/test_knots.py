"""KnOTS against the SVD of the dense concatenation, in fp64 and entry by entry."""

import pytest
import torch

from yosegi.core.expert import Expert, Factors
from yosegi.errors import Invalid, UnknownName
from yosegi.merges import merge
from yosegi.merges._layers import Layers
from yosegi.merges.knots import Knots

LAYERS = ("q", "v", "k")


def by_concatenation(experts, layer):
    """U and the coordinates T_e, from the dense [ΔW_1 | … | ΔW_E]."""
    deltas = [f.scale * f.B_OR.double() @ f.A_RI.double() for f in (e.factors[layer] for e in experts)]
    U, S, V = torch.linalg.svd(torch.cat(deltas, 1), full_matrices=False)
    k = int((S > 1e-5).sum())
    return U[:, :k], (S[:k, None] * V[:k]).chunk(len(experts), 1), S[:k]


@pytest.mark.parametrize("ranks", [(2, 2, 2), (1, 3, 2)])
def test_the_coordinates_are_those_of_the_dense_concatenation(make, ranks):
    experts = [make(name, rank) for name, rank in zip("abc", ranks, strict=True)]
    for layer in Layers(experts, [1.0] * 3):
        L, U = Knots().coordinates(layer)
        want_U, want_T, S = by_concatenation(experts, layer.name)
        T = L @ layer.A_ERI
        assert U.shape == want_U.shape
        torch.testing.assert_close(torch.cat(list(T), 1).norm(dim=1).double(), S, atol=1e-4, rtol=1e-4)
        sign = (U.double() * want_U).sum(0).sign()  # a singular vector may be turned round
        torch.testing.assert_close(U.double() * sign, want_U, atol=1e-4, rtol=0)
        for e, expert in enumerate(experts):
            torch.testing.assert_close(T[e].double() * sign[:, None], want_T[e], atol=1e-4, rtol=1e-4)
            torch.testing.assert_close(U @ T[e], expert.delta(layer.name), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("weights", [None, [0.6, -0.8, 0.3]])
@pytest.mark.parametrize("density", [1.0, 0.3])
def test_ties_in_the_coordinates_is_the_loop(make, elected, weights, density):
    experts = [make(name) for name in "abc"]
    merged = merge(experts, "knots", weights, density=density, rank="full")
    parts = {layer: by_concatenation(experts, layer) for layer in LAYERS}
    limits = []
    for e in range(3):
        flat = torch.cat([parts[n][1][e].abs().flatten() for n in LAYERS]).sort(descending=True).values
        limits.append(flat[max(1, int(density * len(flat))) - 1] * (1 - 1e-6))
    for layer in LAYERS:
        U, T, _ = parts[layer]
        w = weights or [1.0] * 3
        want = U @ elected([w[e] * T[e] * (T[e].abs() >= limits[e]) for e in range(3)])
        torch.testing.assert_close(merged.delta(layer).double(), want, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("weights", [[1.0, 1.0, 1.0], [0.2, -0.5, 1.3]])
def test_with_task_arithmetic_it_is_task_arithmetic(make, weights):
    experts = [make("a"), make("b", 3), make("c", layers=["q", "v"])]
    one = merge(experts, "knots", weights, by="task_arithmetic", rank="full")
    other = merge(experts, "task_arithmetic", weights)
    for layer in LAYERS:
        torch.testing.assert_close(one.delta(layer), other.delta(layer), atol=1e-4, rtol=1e-4)
    assert one.card["relative_error"] < 1e-5


def test_with_ties_it_is_not_ties(make):
    experts = [make("a"), make("b")]
    one, other = merge(experts, "knots", rank="full"), merge(experts, "ties", density=1, rank="full")
    assert (one.delta("q") - other.delta("q")).norm() > 0.1


def test_dare_in_the_coordinates(make):
    experts = [make("a"), make("b")]
    one = merge(experts, "knots", by="dare", drop=0.5, seed=1)
    same, other = (merge(experts, "knots", by="dare", drop=0.5, seed=seed) for seed in (1, 2))
    assert torch.equal(one.delta("q"), same.delta("q")) and not torch.equal(one.delta("q"), other.delta("q"))
    whole = merge(experts, "knots", by="dare_ties", drop=0, rank="full")
    ties = merge(experts, "knots", by="ties", rank="full")
    torch.testing.assert_close(whole.delta("q"), ties.delta("q"))


def test_the_rank_is_at_most_that_of_all_together_and_is_cut(make):
    experts = [make("a"), make("b")]
    assert merge(experts, "knots", rank="full").rank == 4
    merged = merge(experts, "knots", density=0.5)
    assert merged.rank == 2 and 0 < merged.card["truncation_error"] < 1


def test_twins_share_their_coordinates(make):
    """Linearly dependent experts: directions that are only rounding are left out."""
    a = make("a")
    merged = merge([a, Expert("b", a.factors, a.card), Expert("c", a.scale(2).factors, a.card)], "knots", rank="full")
    assert merged.rank == 2
    torch.testing.assert_close(merged.delta("q"), a.delta("q") * 4 / 3, atol=1e-4, rtol=0)


def test_experts_that_are_still_zero():
    zero = [Expert(n, {"q": Factors(torch.randn(2, 5), torch.zeros(4, 2))}) for n in "ab"]
    merged = merge(zero, "knots")
    assert not merged.delta("q").any() and merged.card["relative_error"] == 0


def test_what_cannot_be(make):
    with pytest.raises(UnknownName, match="Did you mean 'ties'"):
        merge([make("a")], "knots", by="tise")
    with pytest.raises(Invalid, match="knots by dare has no density"):
        merge([make("a")], "knots", by="dare", density=0.5)
