"""DARE: right on average, the same for the same seed, whoever else is there and however it is walked."""

import pytest
import torch

from yosegi.core.expert import Expert
from yosegi.errors import Invalid
from yosegi.merges import _entries, merge

LAYERS = ("q", "v", "k")


def fallen(expert, layer="q", **arguments):
    return merge([expert], "dare", rank="full", **arguments).delta(layer) == 0


def test_the_mean_over_many_masks_is_the_delta(make):
    """Within three standard errors, entry by entry, of 10,000 masks."""
    torch.manual_seed(1)
    expert, n, drop = make("a", layers=["k"]), 10_000, 0.8
    total = torch.zeros(12, 6).double()
    (layer,) = _entries.Layers([expert], [1.0])
    for seed in range(n):
        (_, _, x) = next(_entries.Entries(drop=drop, seed=seed)._entries(layer))
        total += x
    delta = expert.delta("k").double()
    error = delta.abs() * (drop / (1 - drop) / n) ** 0.5
    assert (
        float(((total / n - delta).abs() / error).max()) < 4.5
        and float((((total / n - delta).abs() / error) < 3).double().mean()) > 0.98
    )


@pytest.mark.parametrize("weights", [None, [0.2, -0.5, 1.3]])
def test_is_the_weighted_sum_of_what_stayed(make, weights):
    experts = [make("a"), make("b", 3), make("c", layers=["v"])]
    merged = merge(experts, "dare", weights, drop=0.3, seed=7, rank="full")
    for layer in LAYERS:
        want = sum(
            w * e.delta(layer) * ~fallen(e, layer, drop=0.3, seed=7) / 0.7
            for w, e in zip(weights or [1 / 3] * 3, experts, strict=True)
            if layer in e.factors
        )
        torch.testing.assert_close(merged.delta(layer), want, atol=1e-5, rtol=0)


def test_each_seed_layer_and_expert_falls_apart(make):
    expert = make("a")
    twin = Expert("b", expert.factors)
    assert torch.equal(fallen(expert, seed=1), fallen(expert, seed=1))
    masks = [fallen(expert, seed=1), fallen(expert, seed=2), fallen(twin, seed=1)]
    masks.append(merge([Expert("a", {"z": expert.factors["q"]})], "dare", rank="full", seed=1).delta("z") == 0)
    for i, one in enumerate(masks):
        assert 0.3 < float(one.float().mean()) < 0.7
        assert not any(torch.equal(one, other) for other in masks[:i])


def test_neither_company_nor_order_nor_blocks_matter(make, monkeypatch):
    a, b = make("a"), make("b")
    one = merge([a, b], "dare", [1.0, 0.0], rank="full")
    other = merge([b, make("c"), a], "dare", [0.0, 0.0, 1.0], rank="full")
    monkeypatch.setattr(_entries, "BLOCK", 1)
    rows = merge([a], "dare", [1.0], rank="full")
    for layer in LAYERS:
        for merged in (other, rows):
            torch.testing.assert_close(one.delta(layer), merged.delta(layer), atol=1e-6, rtol=0)


def test_dropping_nothing_is_the_sum(make):
    experts = [make("a"), make("b")]
    merged = merge(experts, "dare", drop=0, rank="full")
    for layer in LAYERS:
        torch.testing.assert_close(merged.delta(layer), sum(e.delta(layer) for e in experts) / 2)
    assert merged.card["relative_error"] < 1e-5


@pytest.mark.parametrize(
    ("arguments", "message"), [({"drop": 1}, "drop=1"), ({"drop": -0.1}, "drop=-0.1"), ({"seed": 0.5}, "seed=0.5")]
)
def test_what_cannot_be(make, arguments, message):
    with pytest.raises(Invalid, match=message):
        merge([make("a")], "dare", **arguments)
