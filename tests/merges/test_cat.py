"""Side by side is exactly the weighted sum of the deltas."""

import pytest
import torch

from tests.conftest import each
from yosegi.library.interchange import read_peft
from yosegi.merges import merge
from yosegi.merges.cat import cat

E, R, I, O = 3, 2, 7, 5


@each("weights", [[1.0, 1.0, 1.0], [0.2, 0.5, 0.3], [-1.5, 0.0, 2.0]])
def test_is_the_weighted_sum(weights):
    A, B, w = torch.randn(E, R, I).double(), torch.randn(E, O, R).double(), torch.tensor(weights).double()
    got_A, got_B = cat(A, B, w)
    assert got_A.shape == (E * R, I) and got_B.shape == (O, E * R)
    want = sum(w[e] * B[e] @ A[e] for e in range(E))
    torch.testing.assert_close(got_B @ got_A, want, atol=1e-12, rtol=0)


def test_every_expert_keeps_its_own_rows():
    A, B = torch.randn(E, R, I), torch.randn(E, O, R)
    got_A, got_B = cat(A, B, torch.tensor([1.0, 2.0, 3.0]))
    for e in range(E):
        rows = slice(e * R, (e + 1) * R)
        assert torch.equal(got_A[rows], A[e]) and torch.equal(got_B[:, rows], (e + 1) * B[e])


@pytest.mark.parametrize("weights", [[0.5, 0.5], [1.0, -0.7]])
def test_peft_agrees(make, peer, tmp_path, weights):
    experts = [make("a", scale=3.0), make("b", scale=0.25)]
    add, added = peer(experts, tmp_path)
    add(["a", "b"], weights, "theirs", "cat")
    merged = merge(experts, "cat", weights)
    for layer in ("q", "v", "k"):
        torch.testing.assert_close(merged.delta(layer), added("theirs", layer), atol=1e-4, rtol=0)


def test_experts_of_rslora_are_merged_at_their_own_size(make, peer, tmp_path):
    """PEFT 0.21 keeps alpha / √r in the merged adapter, which makes it √(its rank) too large (PEFT #3449)."""
    add, added = peer([make("a"), make("b")], tmp_path, rslora=True)
    experts = [read_peft(tmp_path / name) for name in "ab"]
    add(["a", "b"], [0.5, 0.5], "theirs", "cat")
    merged = merge(experts, "cat", [0.5, 0.5])
    for layer in ("q", "v", "k"):
        want = 0.5 * added("a", layer) + 0.5 * added("b", layer)
        torch.testing.assert_close(merged.delta(layer), want, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(added("theirs", layer), 4**0.5 * want, atol=1e-5, rtol=1e-5)


def test_padding_adds_no_rank():
    A, B = torch.randn(2, 3, 5), torch.randn(2, 4, 3)
    A[1, 1:], B[1, :, 1:] = 0, 0
    got_A, got_B = cat(A, B, torch.tensor([0.5, 2.0]))
    assert got_A.shape == (4, 5)
    torch.testing.assert_close(got_B @ got_A, 0.5 * B[0] @ A[0] + 2 * B[1] @ A[1])
    assert cat(torch.zeros(2, 3, 5), B, torch.ones(2))[0].shape == (1, 5)
