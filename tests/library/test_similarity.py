"""Against dense deltas, multiplied out and compared in a loop."""

import itertools

import pytest
import torch

from tests.conftest import each
from yosegi.core.expert import Expert, Factors
from yosegi.errors import Invalid, UnknownName
from yosegi.library import similarity as room
from yosegi.library.similarity import similarity

LAYERS = {"a": (7, 5), "b": (4, 9)}


def expert(name, rank=2, layers=LAYERS, dtype=torch.float64, scale=None):
    factors = {}
    for layer, (O, I) in layers.items():
        s = float(torch.rand(())) + 0.5 if scale is None else scale
        factors[layer] = Factors(torch.randn(rank, I, dtype=dtype), torch.randn(O, rank, dtype=dtype), s)
    return Expert(name, factors)


def dense(e):
    """All deltas as one vector; a layer it does not have is zero."""
    parts = []
    for layer, (O, I) in LAYERS.items():
        f = e.factors.get(layer)
        parts.append(
            torch.zeros(O * I).double() if f is None else (f.scale * f.B_OR.double() @ f.A_RI.double()).flatten()
        )
    return torch.cat(parts)


def flat(e):
    return torch.cat([t.double().flatten() for f in e.factors.values() for t in (f.A_RI, f.B_OR)])


def plain(experts, vector):
    result = torch.zeros(len(experts), len(experts), dtype=torch.float64)
    for (i, one), (j, other) in itertools.product(enumerate(experts), repeat=2):
        result[i, j] = torch.nn.functional.cosine_similarity(vector(one), vector(other), dim=0)
    return result


@each("dtype, within", [(torch.float64, 1e-12), (torch.float32, 1e-6), (torch.bfloat16, 1e-6)])
def test_delta_is_the_cosine_of_the_dense_deltas(dtype, within):
    experts = [expert("p", 2, dtype=dtype), expert("q", 3, dtype=dtype), expert("r", 1, dtype=dtype)]
    experts += [expert("s", 2, {"a": LAYERS["a"]}, dtype), expert("t", 2, {"b": LAYERS["b"]}, dtype)]
    result = similarity(experts)
    torch.testing.assert_close(result, plain(experts, dense), atol=within, rtol=0)
    assert result[3, 4] == 0 and result.dtype == torch.float64 and torch.equal(result, result.mT)


def test_factors_is_the_cosine_of_the_factors():
    experts = [expert(n, 3) for n in "pqrs"]
    torch.testing.assert_close(similarity(experts, "factors"), plain(experts, flat), atol=1e-12, rtol=0)


def test_blocks_are_no_different_from_the_whole(monkeypatch):
    experts = [expert(str(i), 1 + i % 3) for i in range(11)]
    whole = similarity(experts)
    monkeypatch.setattr(room, "BLOCK", 2 * 3 * 33)  # two experts at a time
    torch.testing.assert_close(similarity(experts), whole, atol=1e-14, rtol=0)


def test_delta_does_not_see_how_a_delta_is_written_and_factors_does():
    p, q = expert("p", 3), expert("q", 3)
    M_RR = torch.randn(3, 3, dtype=torch.float64)

    def gauge(f):
        return Factors(M_RR @ f.A_RI, f.B_OR @ torch.linalg.inv(M_RR), f.scale)

    other = Expert("p", {layer: gauge(f) for layer, f in p.factors.items()})
    torch.testing.assert_close(similarity([p, q]), similarity([other, q]), atol=1e-10, rtol=0)
    assert similarity([p, other])[0, 1] == pytest.approx(1, abs=1e-12)
    assert abs(similarity([p, q], "factors")[0, 1] - similarity([other, q], "factors")[0, 1]) > 0.01
    assert similarity([p, other], "factors")[0, 1] < 0.9


def test_opposites_copies_and_nothing():
    p = expert("p")
    zero = Expert("zero", {layer: f._replace(B_OR=torch.zeros_like(f.B_OR)) for layer, f in p.factors.items()})
    result = similarity([p, p.scale(-3.0), p.pad(6), zero])
    wanted = torch.tensor([[1, -1, 1, 0], [-1, 1, -1, 0], [1, -1, 1, 0], [0, 0, 0, 0]], dtype=torch.float64)
    torch.testing.assert_close(result, wanted, atol=1e-12, rtol=0)
    assert similarity([p]).tolist() == [[pytest.approx(1)]]


def test_a_scale_of_its_own_weighs_a_layer():
    p, q = expert("p", scale=1.0), expert("q", scale=1.0)
    large = Expert("large", {**p.factors, "a": p.factors["a"]._replace(scale=100.0)})
    only = [Expert(e.name, {"a": e.factors["a"]}) for e in (p, q)]
    assert abs(similarity([p, q])[0, 1] - similarity([large, q])[0, 1]) > 1e-3
    torch.testing.assert_close(similarity([large, q]), plain([large, q], dense), atol=1e-12, rtol=0)
    assert similarity(only)[0, 1] * similarity([large, q])[0, 1] > 0


def test_what_cannot_be_compared_is_refused():
    p = expert("p")
    with pytest.raises(Invalid, match=r"Layer a: .*different models; it is 6 x 5 and 7 x 5"):
        similarity([p, expert("q", layers={"a": (6, 5)})])
    with pytest.raises(Invalid, match=r'Layer a: \(rank, outputs, inputs\) are .*space="delta"'):
        similarity([p, expert("q", 3)], "factors")
    with pytest.raises(Invalid, match='Only one of .* has layer b.*space="delta"'):
        similarity([p, expert("q", layers={"a": LAYERS["a"]})], "factors")
    with pytest.raises(UnknownName, match="'factor'. Did you mean 'factors'"):
        similarity([p], "factor")
    with pytest.raises(Invalid, match="no experts"):
        similarity([])
