"""TSV-Merge against the triples of the dense deltas."""

import pytest
import torch

from yosegi.core.expert import Expert, Factors
from yosegi.errors import Invalid
from yosegi.merges import merge


def polar(X):
    P, _, Q = torch.linalg.svd(X, full_matrices=False)
    return P @ Q


@pytest.mark.parametrize("weights", [None, [0.2, -0.5, 1.3]])
@pytest.mark.parametrize(("share", "keep"), [(None, 1), (0.75, 3), (1.0, 4)])
def test_it_is_the_loop(make, weights, share, keep):
    experts = [make(name, 4) for name in "abc"]
    merged = merge(experts, "tsv", weights, rank="full", share=share)
    for layer in ("q", "v", "k"):
        parts = [torch.linalg.svd(e.delta(layer).double(), full_matrices=False) for e in experts]
        U = torch.cat([U[:, :keep] for U, _, _ in parts], 1)
        V = torch.cat([V[:keep] for _, _, V in parts])
        S = torch.cat([w * S[:keep] for w, (_, S, _) in zip(weights or [1.0] * 3, parts, strict=True)])
        want = polar(U) * S @ polar(V.mT).mT
        torch.testing.assert_close(merged.delta(layer).double(), want, atol=1e-3, rtol=1e-3)


def test_experts_of_other_directions_are_added_and_those_of_one_direction_are_parted():
    def expert(name, row, column):
        delta = torch.zeros(6, 6)
        delta[row, column] = 2.0
        return Expert(name, {"q": Factors(delta, torch.eye(6), 1.0)}, {})

    apart = merge([expert("a", 0, 0), expert("b", 1, 1)], "tsv").delta("q")
    assert apart.diagonal()[:2].tolist() == pytest.approx([2.0, 2.0], abs=1e-4)
    same = merge([expert("a", 0, 0), expert("b", 0, 0)], "tsv").delta("q")
    assert float(same.norm()) < 4 - 1e-3, "a plain sum would be 4"


def test_what_cannot_be(make):
    for share in (0, 1.5, "all", float("nan")):
        with pytest.raises(Invalid, match="share"):
            merge([make("a")], "tsv", share=share)
