"""SpectR against dense SVDs and a loop over tokens and experts."""

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
from yosegi.routers.spectr import Spectr

I, O, R = 12, 10, 3


def given(ranks):
    return [Factors(torch.randn(r, I), torch.randn(O, r), 0.3 + r) if r else None for r in ranks]


def bank_of(experts):
    return Bank([str(e) for e in range(len(experts))], [()] * len(experts), experts, (O, I))


def bound(experts, **options):
    router = Spectr(**options)
    router.bind(bank_of(experts))
    return router


def score(f, x, weighted):
    """One expert, one token, from the dense delta."""
    delta = f.scale * (f.B_OR.double() @ f.A_RI.double())
    if weighted:
        return float((delta @ x.double()).norm())
    _, S, V = torch.linalg.svd(delta)
    rank = int((1e-6 * S[0] < S).sum())
    return float((V[:rank] @ x.double()).norm()) / rank**0.5


@each("weighted", [False, True])
@each("top_k", [1, 2, 4, 9])
@each("ranks", [(R,) * 5, (1, 4, 2, 8, 3), (3, None, 1, None, 2)])
def test_is_the_loop_over_tokens(ranks, top_k, weighted):
    experts, x = given(ranks), torch.randn(2, 6, I)
    w = bound(experts, top_k=top_k, weighted=weighted)(x, Context())
    assert w.shape == (2, 6, 1, 5)
    there = [e for e, f in enumerate(experts) if f is not None]
    for b in range(2):
        for t in range(6):
            scores = {e: score(experts[e], x[b, t], weighted) for e in there}
            kept = sorted(there, key=lambda e: -scores[e])[:top_k]  # noqa: B023
            want = [1 / len(kept) if e in kept else 0 for e in range(5)]
            assert w[b, t, 0].tolist() == pytest.approx(want)


def test_weighted_sees_the_size_of_a_delta_and_unweighted_does_not():
    experts, x = given((R,) * 4), torch.randn(50, I)
    louder = [*experts[:3], experts[3]._replace(scale=100.0)]
    for weighted in (False, True):
        one, other = (bound(e, top_k=1, weighted=weighted)(x, Context()) for e in (experts, louder))
        assert torch.equal(one, other) is not weighted
    assert other[..., 3].mean() > 0.9


def test_directions_that_a_delta_does_not_use_do_not_count():
    """Padding, rank that was never reached, and a B of zero."""
    A = torch.randn(4, I)
    A[2:] = A[:2] @ torch.eye(I)  # rank 2, written with 4 rows
    B = torch.randn(O, 4)
    thin = Factors(A[:2], B[:, :2] + B[:, 2:])
    rows = bound([Factors(A, B), thin, Factors(A, 0 * B), *given((6,))]).rows_ERI
    x = torch.randn(40, I)
    lengths = (x @ rows.mT).norm(dim=-1)
    torch.testing.assert_close(lengths[0], lengths[1], atol=1e-4, rtol=1e-4)
    assert not lengths[2].any()
    torch.testing.assert_close(rows.square().sum((1, 2))[[0, 1, 3]], torch.ones(3))  # √rank is divided out


def test_it_does_not_depend_on_how_a_delta_is_factored():
    experts, x = given((R,) * 4), torch.randn(2, 50, I)
    turned = []
    for f in experts:
        G = torch.randn(R, R) + 2 * torch.eye(R)
        turned.append(Factors(G @ f.A_RI, f.B_OR @ torch.linalg.inv(G), f.scale))
    for weighted in (False, True):
        one, other = (bound(e, top_k=2, weighted=weighted)(x, Context()) for e in (experts, turned))
        assert torch.equal(one, other)


@each("mix", [outputs, factors])
def test_in_a_layer(mix):
    experts, x = given((R,) * 4), torch.randn(2, 5, I)
    layer = ExpertLinear(nn.Linear(I, O), bank_of(experts), Spectr(top_k=2), mix)
    w, want = layer.router(x, Context()), layer.base(x).clone()
    for b in range(2):
        for t in range(5):
            weights = w[b, t, 0].tolist()
            if mix is outputs:
                delta = sum(a * f.dense() for a, f in zip(weights, experts, strict=True))
            else:
                A = sum(a * f.A_RI for a, f in zip(weights, experts, strict=True))
                delta = sum(a * f.scale * f.B_OR for a, f in zip(weights, experts, strict=True)) @ A
            want[b, t] += delta @ x[b, t]
    torch.testing.assert_close(layer(x), want, atol=1e-4, rtol=1e-4)


def test_what_cannot_be():
    with pytest.raises(Invalid, match="top_k >= 1, not 0"):
        Spectr(top_k=0)
