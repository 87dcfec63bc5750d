"""Iso-C against the SVD of the dense sum."""

import pytest
import torch

from yosegi.core.expert import Expert, Factors
from yosegi.merges import merge


@pytest.mark.parametrize("weights", [None, [0.2, -0.5, 1.3]])
@pytest.mark.parametrize("rank", ["full", 2])
def test_it_is_the_loop(make, weights, rank):
    experts = [make("a"), make("b", 3), make("c", layers=["q", "v"])]
    merged = merge(experts, "iso_c", weights, rank=rank)
    for layer in ("q", "v", "k"):
        having = [(w, e) for w, e in zip(weights or [1.0] * 3, experts, strict=True) if layer in e.factors]
        U, S, V = torch.linalg.svd(sum(w * e.delta(layer).double() for w, e in having), full_matrices=False)
        K = int((1e-5 * S[0] < S).sum())
        R = K if rank == "full" else rank
        want = S[:K].mean() * U[:, :R] @ V[:R]
        torch.testing.assert_close(merged.delta(layer).double(), want, atol=1e-4, rtol=1e-4)
    assert (merged.card["truncation_error"] > 0.1) == (rank == 2)


def test_no_direction_drowns_the_others():
    one, two = torch.zeros(6, 6), torch.zeros(6, 6)
    one[0, 0], two[1, 1] = 9.0, 1.0
    experts = [Expert(name, {"q": Factors(delta, torch.eye(6), 1.0)}, {}) for name, delta in (("a", one), ("b", two))]
    merged = merge(experts, "iso_c").delta("q")
    assert merged.diagonal()[:2].tolist() == pytest.approx([5.0, 5.0], abs=1e-4) and float(
        merged.norm()
    ) == pytest.approx(50**0.5, abs=1e-3)


def test_a_layer_that_one_expert_has_stays_as_it_is(make):
    a, b = make("a"), make("b", layers=["q", "v"])
    torch.testing.assert_close(merge([a, b], "iso_c").delta("k"), a.delta("k"), atol=1e-4, rtol=1e-4)
