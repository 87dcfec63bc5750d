"""Gates against loops: while they learn, and when they route."""

import math

import pytest
import torch
from torch import nn

from tests.conftest import each
from yosegi.core.bank import Bank
from yosegi.core.context import Context
from yosegi.core.expert import Factors
from yosegi.core.layer import ExpertLinear
from yosegi.core.mix import factors, outputs
from yosegi.errors import Invalid
from yosegi.routers.phatgoose import Phatgoose

I, O, E = 12, 10, 4


def bank_of(ranks=(2,) * E):
    given = [Factors(torch.randn(r, I), torch.randn(O, r), 0.5 + e) if r else None for e, r in enumerate(ranks)]
    return Bank("abcd", [()] * E, given, (O, I))


def gated(router, gate):
    with torch.no_grad():
        router.begin().copy_(gate)
    router.end()
    return router


def standard(v):
    """LayerNorm without scale and shift."""
    return (v - v.mean()) / (v.var(unbiased=False) + 1e-5).sqrt()


@each("top_k", [1, 2, 9])
@each("ranks", [(2, 2, 2, 2), (1, None, 3, None)])
def test_routing_is_the_loop_over_tokens(ranks, top_k):
    router, gate, x = Phatgoose(top_k), torch.randn(E, I), 3 * torch.randn(2, 5, I) + 1
    router.bind(bank_of(ranks))
    w = gated(router, gate)(x, Context())
    assert w.shape == (2, 5, 1, E) and not w.requires_grad
    for b in range(2):
        for t in range(5):
            score = {e: float(standard(x[b, t]) @ standard(gate[e])) / math.sqrt(I) for e in range(E) if ranks[e]}
            every = sum(math.exp(s) for s in score.values())
            kept = sorted(score, key=lambda e: -score[e])[:top_k]
            share = {e: math.exp(score[e]) / every for e in kept}  # softmax over all, then over the kept
            want = [share[e] / sum(share.values()) if e in kept else 0 for e in range(E)]
            assert w[b, t, 0].tolist() == pytest.approx(want, abs=1e-5)


@each("mix", [outputs, factors])
@each("runs", [False, True])
def test_in_training_a_sequence_gets_its_expert_times_its_gate(mix, runs):
    asked = torch.tensor([1, 1, 3, 3])
    context = Context(expert_B=asked, run_K=asked[::2] if runs else None)
    layer = ExpertLinear(nn.Linear(I, O), bank_of(), Phatgoose(), mix, context=context)
    assert not layer.router.one_each
    gate, x = layer.router.begin(), torch.randn(4, 5, I)
    assert layer.router.one_each and gate.requires_grad and not gate.any()
    with torch.no_grad():
        gate.normal_()
    want = layer.base(x).clone()
    for b, e in enumerate(asked.tolist()):
        for t in range(5):
            w = torch.sigmoid(gate[e] @ x[b, t])
            want[b, t] += (w if mix is outputs else w * w) * (layer.bank.factors(e).dense() @ x[b, t])
    y = layer(x)
    torch.testing.assert_close(y, want, atol=1e-4, rtol=1e-4)
    (mine,) = torch.autograd.grad(y.square().sum(), gate, retain_graph=True)
    (theirs,) = torch.autograd.grad(want.square().sum(), gate)
    torch.testing.assert_close(mine, theirs, atol=1e-2, rtol=1e-4)
    assert not mine[[0, 2]].any() and mine[[1, 3]].any(1).all()  # no other gate moves


def test_at_first_every_gate_is_half_open_and_silence_is_silence():
    router = Phatgoose()
    router.bind(bank_of())
    router.begin()
    w = router(torch.randn(2, 3, I), Context(expert_B=torch.tensor([2, -1])))
    assert w[0, :, 0].tolist() == [[0, 0, 0.5, 0]] * 3 and not w[1].any()


def test_training_needs_the_expert_of_each_sequence():
    router = Phatgoose()
    router.bind(bank_of())
    router.begin()
    with pytest.raises(Invalid, match="needs the expert of each sequence"):
        router(torch.randn(2, 3, I), Context())


def test_the_end_is_the_end():
    router = Phatgoose()
    router.bind(bank_of())
    gated(router, torch.randn(E, I))
    assert not router.one_each and not router.learnt.get("gate_EI").requires_grad
    with pytest.raises(Invalid, match="top_k >= 1, not 0"):
        Phatgoose(0)
