"""The gathered pairs say what the two GEMMs say, and are used where they should be and nowhere else."""

import pytest
import torch
from torch import nn

from yosegi.core import layer as layers
from yosegi.core.dispatch import few, gathered, grouped
from yosegi.core.expert import Expert, Factors
from yosegi.core.mix import factors
from yosegi.core.model import put
from yosegi.routers.arrow import Arrow
from yosegi.routers.by_request import ByRequest
from yosegi.routers.uniform import Uniform

I, O, E, R = 64, 48, 96, 4


def many(bias=True):
    model = nn.ModuleDict({"q": nn.Linear(I, O, bias=bias)})
    experts = [
        Expert(str(e), {"q": Factors(torch.randn(R - e % 2, I), torch.randn(O, R - e % 2), 0.1 + e / E)})
        for e in range(E)
    ]
    return model, experts


def test_grouped_is_the_loop():
    A, B, w = torch.randn(E, R, I), torch.randn(E, O, R), torch.zeros(5, E)
    w[0, 3], w[0, 90], w[2, 3], w[4, 0] = 0.5, -2.0, 1.0, 0.25
    x, y = torch.randn(5, I), torch.randn(5, O)
    want = y.clone()
    for token in range(5):
        for e in range(E):
            want[token] += w[token, e] * B[e] @ (A[e] @ x[token])
    torch.testing.assert_close(grouped(y, x, A, B, w), want, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(grouped(y, x, A, B, torch.zeros(5, E)), y), "nobody is heard"


@pytest.mark.parametrize("router", [Arrow(top_k=1), ByRequest()], ids=["arrow", "by_request"])
def test_the_layer_says_the_same_either_way(router, monkeypatch):
    model, experts = many()
    banks = put(model, experts, router)
    banks.hear(experts=["7", None, "95"])
    x, used = torch.randn(3, 5, I), []
    for name, way in (("grouped", grouped), ("gathered", gathered)):
        monkeypatch.setattr(layers, name, lambda *arguments, way=way: used.append(1) or way(*arguments))
    with torch.no_grad():
        fast = model["q"](x)
        assert used, "so few are heard that they are gathered"
        monkeypatch.setattr(layers, "few", lambda *arguments: False)
        banks.context.run_K = None
        plain = model["q"](x)
    torch.testing.assert_close(fast, plain, rtol=1e-4, atol=1e-4)


def test_not_where_it_would_be_wrong_or_slow(monkeypatch):
    def gathered(router, x, mix=layers.outputs, grad=False):
        model, experts = many()
        if mix is factors:
            experts = [e.pad(R) for e in experts]
        put(model, experts, router, mix)
        used = []
        monkeypatch.setattr(layers, "grouped", lambda *arguments: used.append(1) or grouped(*arguments))
        with torch.set_grad_enabled(grad):
            model.to(x.dtype)["q"](x)
        return bool(used)

    x = torch.randn(2, 5, I)
    assert gathered(Arrow(top_k=1), x)
    assert not gathered(Arrow(top_k=1), x, grad=True), "a silent expert's weight has a gradient too"
    assert not gathered(Uniform(), x), "everybody is heard"
    assert not gathered(Arrow(top_k=1), x, mix=factors), "every expert reads x there"
    assert not gathered(Arrow(top_k=1), x.double()), "grouped_mm has no fp64"
    one_heard = torch.zeros(2, 5, 1, E)
    one_heard[..., 7] = 1
    with torch.no_grad():
        assert few(x, one_heard, R, O) and not few(x, torch.ones(2, 5, 1, E), R, O)
        assert not few(x, one_heard, 3, O), "rows of 12 bytes"
        assert not few(x, one_heard[..., :8], R, O), "so few experts that two GEMMs are nothing"
    assert not few(x, one_heard, R, O), "gradients are wanted"


@pytest.mark.parametrize("asked", [["3", "3", "9", "9"], ["3", None, "3", "0"], ["5"], list(map(str, range(E)))])
def test_each_sequence_with_its_own_expert(asked):
    model, experts = many()
    banks = put(model, experts, ByRequest())
    x = torch.randn(len(asked), 7, I)
    banks.hear(experts=asked)
    together = model["q"](x)
    together.square().sum().backward()
    fast = [p.grad for p in banks.parameters().values()]
    want = model["q"].base(x)
    for b, name in enumerate(asked):
        if name is not None:
            want[b] += x[b] @ experts[int(name)].delta("q").T
    torch.testing.assert_close(together, want, rtol=1e-4, atol=1e-4)
    model.zero_grad()
    banks.context.run_K = None
    model["q"](x).square().sum().backward()
    for one, other in zip(fast, banks.parameters().values(), strict=True):
        torch.testing.assert_close(one, other.grad, rtol=1e-3, atol=1e-2)


def test_runs_are_found():
    banks = put(*(lambda m, e: (m, e[:3]))(*many()), ByRequest())
    for asked, runs, every in (
        (["0", "0", "1", "1", "2", "2"], [0, 1, 2], True),
        (["0", "0", "2", "2", "2", "2"], [0, 2, 2], False),
        (["1", "1", "2"], [1, 1, 2], False),
        ([None, "1", "2"], [-1, 1, 2], False),
        (["0"], [0], False),
    ):
        banks.hear(experts=asked)
        assert banks.context.run_K.tolist() == runs and banks.context.every == every
