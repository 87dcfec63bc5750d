"""Every way says what the two GEMMs say, and each is taken where it should be and nowhere else."""

import pytest
import torch
from torch import nn

from tests.conftest import each
from yosegi.core import layer as layers
from yosegi.core.dispatch import cheapest, gathered, grouped
from yosegi.core.expert import Expert, Factors
from yosegi.core.mix import factors
from yosegi.core.model import attach
from yosegi.core.router import Router
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


@each("dtype", [torch.float32, torch.float64, torch.bfloat16])
@each("R", [1, 3, 4])
def test_grouped_is_the_loop(dtype, R):
    A, B, w = torch.randn(E, R, I), torch.randn(E, R, O).mT, torch.zeros(2, 5, 1, E)
    w[0, 0, 0, 3], w[0, 0, 0, 90], w[0, 2, 0, 3], w[1, 4, 0, 0] = 0.5, -2.0, 1.0, 0.25
    x, y = torch.randn(2, 5, I), torch.randn(2, 5, O)
    y, x, A, B, w = (t.to(dtype) for t in (y, x, A, B, w))
    want = y.double().clone()
    for b in range(2):
        for t in range(5):
            for e in range(E):
                want[b, t] += w[b, t, 0, e].double() * B[e].double() @ (A[e].double() @ x[b, t].double())
    with torch.no_grad():
        got = grouped(y, x, A, B, w)
        assert torch.equal(grouped(y, x, A, B, torch.zeros_like(w)), y), "no expert is active"
        assert grouped(y[:0], x[:0], A, B, w[:0]).shape == (0, 5, O)
        shared = grouped(y, x, A, B, w[0, 0])
    assert got.dtype == dtype
    assert (got - want).norm() < (0.01 if dtype == torch.bfloat16 else 1e-6) * want.norm()
    alike = grouped(y, x, A, B, w[:1, :1].expand(2, 5, 1, E))
    assert torch.equal(shared, alike), "the same weights for every token need not be repeated"


@pytest.mark.parametrize(
    "router, way", [(Arrow(top_k=1), "grouped"), (ByRequest(), "gathered")], ids=["arrow", "by_request"]
)
def test_the_layer_says_the_same_either_way(router, way, monkeypatch):
    model, experts = many()
    banks = attach(model, experts, router)
    banks.set_batch(experts=["7", None, "95"])
    x, output, taken = torch.randn(3, 40, I), {}, []
    compute = getattr(layers, way)
    monkeypatch.setattr(layers, way, lambda *arguments: taken.append(way) or compute(*arguments))
    with torch.no_grad():
        for name in ("dense", way):
            monkeypatch.setattr(layers, "cheapest", lambda *arguments, name=name: name)
            output[name] = model["q"](x)
    torch.testing.assert_close(output[way], output["dense"], rtol=1e-4, atol=1e-4)
    assert taken == [way], "once, so they were computed in two ways"


def taken(router, x, asked=None, mix=layers.outputs, count=E, grad=False, autocast=False):
    """The way that the layer takes, and what it says."""
    model, experts = many()
    experts = experts[:count] if mix is layers.outputs else [e.pad(R) for e in experts[:count]]
    banks = attach(model, experts, router, mix)
    banks.set_batch(experts=asked)
    way = "dense"
    with pytest.MonkeyPatch.context() as patch, torch.set_grad_enabled(grad):
        for name, function in (("grouped", grouped), ("gathered", gathered)):

            def noted(*arguments, name=name, function=function):
                nonlocal way
                way = name
                return function(*arguments)

            patch.setattr(layers, name, noted)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            output = model.to(x.dtype)["q"](x)
    return way, output


def test_not_where_it_would_be_wrong_or_slow():
    x, each = torch.randn(8, 64, I), [str(b) for b in range(8)]
    assert taken(Arrow(top_k=1), x)[0] == "grouped"
    assert taken(Arrow(top_k=1), x.double())[0] == "grouped"
    assert taken(Arrow(top_k=1), x, grad=True)[0] == "dense", "a weight of zero has a gradient too"
    assert taken(Uniform(), x)[0] == "dense", "all experts are active"
    assert taken(Arrow(top_k=1), x, mix=factors)[0] == "dense", "every expert reads x there"
    assert taken(Arrow(top_k=1), x, count=2)[0] == "dense", "so few that two GEMMs are nothing"
    assert taken(Arrow(top_k=1), x[:1, :1])[0] == "dense", "one token is not worth beginning"
    assert taken(Arrow(top_k=1), x[:0])[1].shape == (0, 64, O)
    assert taken(ByRequest(), x, each)[0] == taken(ByRequest(), x, each, grad=True)[0] == "gathered"
    assert taken(ByRequest(), x[:, :1], each, count=8)[0] == "dense", "copying eight experts for eight tokens"


class Fixed(Router):
    """Token n goes to expert n."""

    def forward(self, x, context):
        return torch.eye(E)[torch.arange(x.shape[-2]) % E][:, None]


@each("router, asked", [(Fixed(), None), (ByRequest(), [str(b) for b in range(8)])])
def test_autocast(router, asked):
    x, output = torch.randn(8, 64, I), []
    for autocast in (False, True):
        torch.manual_seed(0)
        way, y = taken(router, x, asked, autocast=autocast)
        assert way == ("grouped" if asked is None else "gathered")
        output.append(y)
    assert output[1].dtype == torch.bfloat16
    assert (output[1] - output[0]).norm() < 0.02 * output[0].norm()


def test_an_expert_that_diverges_reaches_no_other():
    model, experts = many()
    banks = attach(model, experts[:2], ByRequest())
    banks["q"].A_ERI.data[1] = torch.inf
    banks.set_batch(experts=["0", "1"])
    y = model["q"](torch.randn(2, 1, I))
    y.sum().backward()
    assert y[0].isfinite().all() and not y[1].isfinite().any()
    assert banks["q"].A_ERI.grad[0].isfinite().all() and banks["q"].B_EOR.grad[0].isfinite().all()


def test_what_was_counted():
    """With one active expert in a few the way is another than with half of them active."""
    x, B_shape, w = torch.randn(8, 64, I), (E, O, R), torch.zeros(8, 64, 1, E)
    w[..., 7] = 1
    with torch.no_grad():
        assert cheapest(x, w, B_shape, None) == "grouped"
        assert cheapest(x, w[:1, :1], B_shape, None) == "grouped"
        w[..., : E // 2] = 1
        assert cheapest(x, w, B_shape, None) == "dense"
        wide, one_hot, run_K = torch.zeros(64, 1, 1024), torch.eye(64)[:, None, None], torch.arange(64)
        assert cheapest(wide, one_hot, (64, 1024, 8), run_K) == "grouped", "a copy of large matrices for every token"
        assert cheapest(wide.expand(64, 9, -1), one_hot, (64, 1024, 8), run_K) == "gathered", "for nine"


@each("asked", [["3", "3", "9", "9"], ["3", None, "3", "0"], ["5"], list(map(str, range(E)))])
def test_each_sequence_with_its_own_expert(asked):
    model, experts = many()
    banks = attach(model, experts, ByRequest())
    x = torch.randn(len(asked), 7, I)
    banks.set_batch(experts=asked)
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
    banks = attach(*(lambda m, e: (m, e[:3]))(*many()), ByRequest())
    for asked, runs, every in (
        (["0", "0", "1", "1", "2", "2"], [0, 1, 2], True),
        (["0", "0", "2", "2", "2", "2"], [0, 2, 2], False),
        (["1", "1", "2"], [1, 1, 2], False),
        ([None, "1", "2"], [-1, 1, 2], False),
        (["0"], [0], False),
    ):
        banks.set_batch(experts=asked)
        assert banks.context.run_K.tolist() == runs and banks.context.every == every
