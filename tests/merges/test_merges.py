"""Many experts into one, held against dense sums."""

import pytest
import torch

from tests.conftest import each
from yosegi import spec
from yosegi.core.expert import Expert, Factors
from yosegi.core.model import attach
from yosegi.errors import Invalid, UnknownName, WrongBase
from yosegi.merges import merge
from yosegi.routers.uniform import Uniform

SHAPES = {"q": (9, 7), "v": (5, 11)}


def make(name, rank=2, layers=SHAPES, scale=0.5, **card):
    factors = {n: Factors(torch.randn(rank, SHAPES[n][1]), torch.randn(SHAPES[n][0], rank), scale) for n in layers}
    return Expert(name, factors, {"base": "B", "base_hash": "abc", "task": [name], **card})


def dense(expert, layer):
    f = expert.factors.get(layer)
    return f.scale * f.B_OR.double() @ f.A_RI.double() if f else torch.zeros(SHAPES[layer]).double()


def summed(experts, weights):
    return {n: sum(w * dense(e, n) for e, w in zip(experts, weights, strict=True)) for n in SHAPES}


def relative_error(expert, want):
    lost = sum((dense(expert, n) - want[n]).square().sum() for n in want)
    return float((lost / sum(delta.square().sum() for delta in want.values())).sqrt())


@each("weights", [None, [0.2, 0.5, 0.3], [1.0, -2.0, 0.0]])
@each("ranks", [(2, 2, 2), (1, 3, 2)])
def test_cat_and_wide_svd_are_the_weighted_sum(weights, ranks):
    experts = [make(name, rank, scale=0.5 + rank) for name, rank in zip("abc", ranks, strict=True)]
    want = summed(experts, weights or [1 / 3] * 3)
    for method, arguments in (("cat", {}), ("svd", {"rank": 9})):
        merged = merge(experts, method, weights, **arguments)
        for layer in SHAPES:
            torch.testing.assert_close(dense(merged, layer), want[layer], atol=1e-4, rtol=0)
        assert merged.card["relative_error"] < 1e-5


@each("method", ["cat", "svd", "linear", "task_arithmetic"])
def test_the_card_tells_the_error_of_the_dense_computation(method):
    experts, weights = [make("a"), make("b"), make("c")], [0.2, 0.5, 0.3]
    merged = merge(experts, method, weights)
    want = relative_error(merged, summed(experts, weights))
    assert merged.card["relative_error"] == pytest.approx(want, abs=1e-5)


@each("rank", [1, 2, 4])
def test_the_error_of_svd_is_the_spectrum_that_was_cut(rank):
    experts = [make("a"), make("b"), make("c")]
    spectra = [torch.linalg.svdvals(delta) for delta in summed(experts, [1 / 3] * 3).values()]
    want = sum(S[rank:].square().sum() for S in spectra) / sum(S.square().sum() for S in spectra)
    error = merge(experts, "svd", rank=rank).card["relative_error"]
    assert 0.01 < error < 1 and error == pytest.approx(float(want.sqrt()), abs=1e-5)


def test_layers_that_some_lack():
    experts = [make("a", layers=["q"]), make("b"), make("c", rank=3, layers=["v"])]
    merged = merge(experts, "cat", [0.5, 0.25, 2.0])
    want = summed(experts, [0.5, 0.25, 2.0])
    assert set(merged.factors) == set(SHAPES)
    for layer in SHAPES:
        torch.testing.assert_close(dense(merged, layer), want[layer], atol=1e-4, rtol=0)
    assert merged.factors["q"].rank == 4 and merged.factors["v"].rank == 5


@each("method", ["cat", "svd", "linear", "task_arithmetic"])
def test_the_order_of_experts_does_not_matter(method):
    experts, weights = [make("a"), make("b"), make("c")], [0.2, 0.5, 0.3]
    one = merge(experts, method, weights)
    other = merge(experts[::-1], method, weights[::-1])
    for layer in SHAPES:
        torch.testing.assert_close(dense(one, layer), dense(other, layer), atol=1e-5, rtol=0)


def test_the_card_says_where_it_comes_from():
    merged = merge([make("b"), make("a"), make("c", task=["a", "x"])], "svd", [1, 2, 3], name="m", rank=1)
    assert merged.name == "m" and merged.rank == 1
    assert {key: merged.card[key] for key in ("base", "base_hash", "task", "parents", "training")} == {
        "base": "B",
        "base_hash": "abc",
        "task": ["a", "b", "x"],
        "parents": ["b", "a", "c"],
        "training": {"merge": "svd", "weights": [1, 2, 3], "rank": 1},
    }


def test_zero_weights_lose_nothing():
    merged = merge([make("a"), make("b")], "svd", [0, 0])
    assert merged.card["relative_error"] == 0 and not any(dense(merged, layer).any() for layer in SHAPES)


@torch.no_grad()
def test_a_merged_expert_answers_as_its_parents_together(llama, experts):
    ids, given = torch.randint(3, 100, (2, 7)), experts(llama, 3, rank=(1, 2, 3), size=0.02)
    banks = attach(llama, given, Uniform())
    want = llama(ids).logits
    banks.detach()
    attach(llama, [merge(given, "cat")], Uniform())
    torch.testing.assert_close(llama(ids).logits, want, atol=1e-5, rtol=1e-4)


@each(
    "experts, arguments, error, message",
    [
        (lambda: [], {}, Invalid, "nothing to merge"),
        (lambda: [make("a")], {"weights": [1, 2]}, Invalid, "1 experts need 1 weights; 2 were given"),
        (lambda: [make("a"), make("b", base_hash="def")], {}, WrongBase, "different bases: abc, def"),
        (lambda: [make("a"), _foreign()], {}, WrongBase, r"different bases: layer q .*\(9, 7\), \(9, 8\)"),
        (lambda: [make("a")], {"method": "svdd"}, UnknownName, "No merge is called 'svdd'. Did you mean 'svd'"),
        (lambda: [make("a", 1), make("b", 2)], {"method": "linear"}, Invalid, "same rank"),
        (lambda: [make("a"), make("b")], {"method": "linear", "weights": [2, -1]}, Invalid, "negative"),
        (lambda: [make("a")], {"rank": 0}, Invalid, "rank=0"),
        (lambda: [make("a")], {"ranks": 2}, UnknownName, "No argument of svd is called 'ranks'. Did you mean 'rank'"),
        (lambda: [make("a")], {"method": "cat", "rank": 2}, UnknownName, "No argument of cat .* There are: none"),
    ],
)
def test_what_cannot_be(experts, arguments, error, message):
    with pytest.raises(error, match=message):
        merge(experts(), **arguments)


def _foreign():
    """An expert of another base that does not say so."""
    return Expert("x", {"q": Factors(torch.randn(2, 8), torch.randn(9, 2))}, {"base_hash": "abc"})


def test_nothing_is_measured_unless_asked():
    experts = [make("a"), make("b")]
    for method in ("svd", "linear", "ties"):
        quick, slow = merge(experts, method, measure=False), merge(experts, method)
        assert "relative_error" in slow.card and "relative_error" not in quick.card
        assert all(torch.equal(quick.delta(layer), slow.delta(layer)) for layer in SHAPES)


def test_the_recipe_says_the_defaults_too():
    recipe = merge([make("a")], "ties", rank="full").card["training"]
    assert recipe == {"merge": "ties", "weights": [1.0], "density": 0.2, "rank": "full"}
    assert merge([make("a")], "svd").card["training"] == {"merge": "svd", "weights": [1.0]}


def test_arguments_are_those_of_the_function_or_of_the_constructor():
    assert list(spec.arguments("merges", "cat")) == [] and list(spec.arguments("merges", "svd")) == ["rank"]
    assert list(spec.arguments("merges", "knots")) == ["by", "density", "drop", "seed", "rank"]


def test_a_method_from_outside(monkeypatch):
    import sys
    import types

    class Double:
        def __init__(self, times: float = 2.0):
            self.times, self.seen = times, []

        def look(self, layers):
            self.seen = [layer.name for layer in layers]

        def __call__(self, layer):
            assert layer.name in self.seen
            return layer.A_ERI[0], self.times * layer.B_EOR[0]

    module = types.ModuleType("theirs")
    module.Double, Double.__module__ = Double, "theirs"
    monkeypatch.setitem(sys.modules, "theirs", module)
    expert = make("a")
    merged = merge([expert], "theirs:Double", times=3.0)
    torch.testing.assert_close(merged.delta("q"), 3 * expert.delta("q"))
    assert merged.card["relative_error"] == pytest.approx(2, abs=1e-4)


@each("method", ["cat", "svd", "ties"])
def test_weights_by_layer(method):
    """Every layer by its own weights; an expert of weight 0 is not in a layer, and no layer is merged that is not named."""
    experts = [make("a"), make("b", rank=3), make("c")]
    weights = {"q": [0.5, 0.0, 2.0], "v": [0.0, 0.0, 1.0]}
    merged = merge(experts, method, weights, **({"density": 1.0} if method == "ties" else {}))
    assert merged.card["parents"] == ["a", "c"] and merged.card["training"]["weights"] == {
        "q": [0.5, 2.0],
        "v": [0.0, 1.0],
    }
    torch.testing.assert_close(dense(merged, "v"), dense(experts[2], "v"), atol=1e-5, rtol=1e-4)
    if method == "cat":
        torch.testing.assert_close(dense(merged, "q"), summed(experts, [0.5, 0.0, 2.0])["q"], atol=1e-5, rtol=1e-4)
    assert set(merge(experts, method, {"q": [1.0, 1.0, 1.0]}).factors) == {"q"}
    with pytest.raises(Invalid, match="3 experts need 3 weights; 2"):
        merge(experts, method, {"q": [1.0, 1.0]})
    with pytest.raises(Invalid, match="nothing to merge"):
        merge(experts, method, {"q": [0.0, 0.0, 0.0]})
