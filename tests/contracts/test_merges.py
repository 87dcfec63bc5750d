"""Every merge of the drawer: one expert in is the same delta out, order is no matter, errors are told.

A method that trims calls it `density` and keeps everything at 1; one that drops calls it `drop` and keeps everything at 0.
"""

import pytest
import torch

from yosegi import registry
from yosegi.core.expert import Expert, Factors
from yosegi.errors import Invalid
from yosegi.merges import merge
from yosegi.spec import arguments

MERGES = registry.names("merges")
SHAPES = {"q": (9, 7), "v": (5, 11), "k": (9, 7)}


def test_the_drawer_was_walked():
    assert len(MERGES) >= 10


def make(name, rank=2, layers=SHAPES):
    factors = {n: Factors(torch.randn(rank, SHAPES[n][1]), torch.randn(SHAPES[n][0], rank), 0.5) for n in layers}
    return Expert(name, factors, {"base_hash": "abc", "task": [name]})


def same(one, other, atol=1e-4):
    assert set(one.factors) == set(other.factors)
    for layer in one.factors:
        torch.testing.assert_close(one.delta(layer), other.delta(layer), atol=atol, rtol=0)


@pytest.fixture(params=MERGES)
def method(request):
    return request.param


def some(method, *experts):
    """As many of them as the method takes: slerp goes between two."""
    return list(experts[:2] if method == "slerp" else experts)


@pytest.mark.parametrize("rank", [1, 4])
def test_one_expert_in_is_the_same_delta_out(method, rank):
    expert = make("a", rank)
    everything = {
        name: value for name, value in (("density", 1.0), ("drop", 0.0)) if name in arguments("merges", method)
    }
    if method in (
        "knots",
        "core_space",
    ):  # their `drop` belongs to other ways of merging than the one they have by default
        everything.pop("drop")
    merged = merge([expert], method, **everything)
    same(merged, expert)
    assert merged.card["relative_error"] < 1e-5


def test_the_order_of_experts_does_not_matter(method):
    experts = some(method, make("a"), make("b"), make("c"))
    weights = [0.2, 0.5, 0.3][: len(experts)]
    same(merge(experts, method, weights), merge(experts[::-1], method, weights[::-1]))


def test_a_negative_weight_turns_an_expert_round_or_is_refused(method):
    """With -1 and an expert that says nothing, the result is the opposite of the one with +1."""
    expert, zero = make("a"), make("z").scale(0.0)
    try:
        turned = merge([expert, zero], method, [-1.0, 0.0])
    except Invalid as error:
        assert "negative" in str(error)
        return
    straight = merge([expert, zero], method, [1.0, 0.0])
    same(turned, straight.scale(-1.0))
    assert straight.delta("q").any()


def test_it_leaves_its_experts_alone(method):
    experts = [make("a"), make("b")]
    before = [(f.A_RI.clone(), f.B_OR.clone()) for e in experts for f in e.factors.values()]
    merged = merge(experts, method)
    after = [f for e in experts for f in e.factors.values()]
    assert all(torch.equal(f.A_RI, A) and torch.equal(f.B_OR, B) for f, (A, B) in zip(after, before, strict=True))
    assert all(f.A_RI.is_contiguous() and f.B_OR.is_contiguous() for f in merged.factors.values())


def test_the_same_twice(method):
    experts = [make("a"), make("b")]
    same(merge(experts, method), merge(experts, method), atol=0)


@pytest.mark.parametrize(
    "experts", [lambda: [make("a", 1), make("b", 3)], lambda: [make("a"), make("b", layers=["q", "v"])]]
)
def test_mixed_ranks_and_layers_are_taken_or_refused_with_a_reason(method, experts):
    given = experts()
    try:
        merged = merge(given, method)
    except Invalid as error:
        assert "rank" in str(error) or "layer" in str(error)
        return
    assert set(merged.factors) == set(SHAPES)
    alone = merged.delta("k") if "k" not in given[1].factors else None
    assert all(merged.delta(layer).isfinite().all() for layer in SHAPES)
    assert alone is None or alone.any()


def test_never_more_than_one_layers_dense_delta(method):
    """Experts on many wide layers: the largest tensor ever made is no larger than one layer's delta."""
    O = I = 512
    factors = lambda: {f"l{n}": Factors(torch.randn(2, I), torch.randn(O, 2)) for n in range(3)}  # noqa: E731
    experts = some(method, *(Expert(name, factors(), {}) for name in "abc"))
    largest = 0

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal largest
            out = func(*args, **(kwargs or {}))
            for tensor in out if isinstance(out, tuple | list) else [out]:
                if isinstance(tensor, torch.Tensor):
                    largest = max(largest, tensor.numel())
            return out

    with Watch():
        merge(experts, method)
    assert 0 < largest <= O * I


def test_the_result_says_what_was_lost(method):
    experts, weights = [make("a"), make("b")], [0.3, 0.7]
    merged = merge(experts, method, weights)
    lost = total = 0.0
    for layer in SHAPES:
        want = sum(w * e.delta(layer).double() for w, e in zip(weights, experts, strict=True))
        lost, total = lost + (merged.delta(layer) - want).square().sum(), total + want.square().sum()
    assert merged.card["relative_error"] == pytest.approx(float((lost / total).sqrt()), abs=1e-5)
    assert merged.card["training"]["merge"] == method
