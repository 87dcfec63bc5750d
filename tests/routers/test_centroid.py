"""Centroids against a loop, and what is read of an example whichever side its padding is on."""

import math

import pytest
import torch
from torch.nn.functional import normalize

from tests.conftest import each
from yosegi.core.bank import Bank
from yosegi.core.context import Context
from yosegi.core.expert import Factors
from yosegi.errors import Invalid, UnknownName
from yosegi.routers.centroid import Centroid

I, O, E = 12, 10, 4


def bound(present=(1,) * E, **options):
    given = [Factors(torch.randn(2, I), torch.randn(O, 2)) if p else None for p in present]
    router = Centroid(**options)
    router.bind(Bank("abcd", [()] * E, given, (O, I)))
    return router


@each("top_k", [None, 1, 2, 9])
@each("temperature", [None, 0.1, 1.0])
@each("present", [(1, 1, 1, 1), (0, 1, 0, 1)])
@each("input_norm", ["id", "unit"])
def test_is_the_loop_over_tokens(present, temperature, top_k, input_norm):
    router, mean, x = (
        bound(present, top_k=top_k, temperature=temperature, input_norm=input_norm),
        3 * torch.randn(E, I),
        torch.randn(2, 5, I),
    )
    router.fit(mean)
    w = router(x, Context())
    assert w.shape == (2, 5, 1, E)
    for b in range(2):
        for t in range(5):
            score = {
                e: float(x[b, t] @ mean[e] / (x[b, t].norm() if input_norm == "unit" else 1) / mean[e].norm())
                / (temperature or math.sqrt(I))
                for e in range(E)
                if present[e]
            }
            kept = sorted(score, key=lambda e: -score[e])[: top_k or E]
            total = sum(math.exp(score[e]) for e in kept)
            want = [math.exp(score[e]) / total if e in kept else 0 for e in range(E)]
            assert w[b, t, 0].tolist() == pytest.approx(want, abs=1e-5)


def test_with_unit_inputs_the_default_temperature_is_nearly_even_and_a_small_one_chooses():
    x, mean = torch.randn(1, 30, I), torch.randn(E, I)
    largest = {}
    for norm, temperature in (("unit", None), ("unit", 0.01), ("id", None)):
        router = bound(temperature=temperature, input_norm=norm)
        router.fit(mean)
        largest[norm, temperature] = router(x, Context()).amax(-1).mean()
    assert largest["unit", None] < 0.3 and largest["unit", 0.01] > 0.9
    assert largest["unit", None] < largest["id", None] < largest["unit", 0.01]
    with pytest.raises(UnknownName, match="input_norm of centroid"):
        bound(input_norm="none")


@each("over", ["last", "mean"])
@each("side", ["left", "right"])
def test_padding_on_either_side_is_not_read(over, side):
    router, lengths = bound(over=over), (3, 6, 1)
    rows = [torch.randn(n, I) for n in lengths]
    x, mask = torch.full((3, 6, I), 1e6), torch.zeros(3, 6, dtype=torch.long)
    for b, (row, n) in enumerate(zip(rows, lengths, strict=True)):
        place = slice(0, n) if side == "right" else slice(6 - n, 6)
        x[b, place], mask[b, place] = row, 1
    want = torch.stack([row[-1] if over == "last" else row.mean(0) for row in rows])
    x = x.where(mask[..., None].bool(), 7.0)
    torch.testing.assert_close(router.read(x, mask), want)


def test_prototypes_are_unit():
    router = bound()
    router.fit(5 * torch.randn(E, I))
    torch.testing.assert_close(router.learnt.get("prototype_EI").norm(dim=-1), torch.ones(E))
    with pytest.raises(Invalid, match="prototype_EI is"):
        router.fit(torch.randn(E + 1, I))


def test_a_size_means_nothing():
    router, x, mean = bound(input_norm="unit"), torch.randn(2, 5, I), torch.randn(E, I)
    router.fit(mean)
    w = router(x, Context())
    router.fit(mean * torch.tensor([1.0, 9, 0.1, 3])[:, None])
    torch.testing.assert_close(router(7 * x, Context()), w)
    assert torch.allclose(normalize(mean, dim=-1), router.learnt.get("prototype_EI"))


def test_what_cannot_be():
    for options in ({"top_k": 0}, {"temperature": 0.0}):
        with pytest.raises(Invalid, match="top_k >= 1 and temperature > 0"):
            Centroid(**options)
    with pytest.raises(UnknownName, match="Did you mean 'last'"):
        Centroid(over="lost")
