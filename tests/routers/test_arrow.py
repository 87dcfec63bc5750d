"""Arrow against the dense SVD and a loop over tokens."""

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
from yosegi.routers.arrow import Arrow

I, O, E, R = 12, 10, 4, 3


def given(ranks=(R,) * E, scale=0.5):
    return [Factors(torch.randn(r, I), torch.randn(O, r), scale) if r else None for r in ranks]


def bank_of(experts):
    return Bank([str(e) for e in range(len(experts))], [()] * len(experts), experts, (O, I))


def bound(experts, **options):
    router = Arrow(**options)
    router.bind(bank_of(experts))
    return router


def top_direction(f):
    return torch.linalg.svd(f.B_OR.double() @ f.A_RI.double()).Vh[0]


@each("ranks", [(R,) * E, (1, 4, 2, 8), (10, 12, 1, 1)])
def test_the_prototype_is_the_top_right_singular_vector(ranks):
    experts = given(ranks)
    router = bound(experts)
    for f, prototype in zip(experts, router.prototype_EI, strict=True):
        torch.testing.assert_close(
            (top_direction(f) @ prototype.double()).abs(), torch.tensor(1.0).double(), atol=1e-6, rtol=0
        )
        torch.testing.assert_close(prototype.norm(), torch.tensor(1.0))


def test_it_is_the_direction_the_delta_stretches_most():
    experts = given()
    for f, v in zip(experts, bound(experts).prototype_EI, strict=True):
        others = nn.functional.normalize(torch.randn(1000, I), dim=-1)
        delta = f.B_OR @ f.A_RI
        assert (delta @ v).norm() >= (others @ delta.T).norm(dim=-1).max()


def test_weights_do_not_depend_on_how_a_delta_is_factored():
    experts, x = given(), torch.randn(2, 5, I)
    turned = []
    for f in experts:
        G = torch.randn(R, R) + 2 * torch.eye(R)
        turned.append(Factors(G @ f.A_RI, f.B_OR @ torch.linalg.inv(G), f.scale))
    one, other = (bound(e, top_k=2)(x, Context()) for e in (experts, turned))
    torch.testing.assert_close(one, other, atol=1e-4, rtol=0)


def test_nor_on_the_sign_of_a_factor_or_the_size_of_the_delta():
    experts, x = given(), torch.randn(2, 5, I)
    flipped = [Factors(-f.A_RI, 7 * f.B_OR, 3.0) for f in experts]
    torch.testing.assert_close(bound(experts)(x, Context()), bound(flipped)(x, Context()), atol=1e-5, rtol=0)


@each("small", [1e-3, 1e-6, 0.0])
def test_a_nearly_rank_deficient_expert(small):
    A = torch.randn(R, I)
    A[1] = A[0] + small * torch.randn(I)
    A[2] = 0.5 * A[0] - small * torch.randn(I)
    f = Factors(A, torch.randn(O, R))
    prototype = bound([f]).prototype_EI[0]
    assert prototype.isfinite().all()
    torch.testing.assert_close(
        (top_direction(f) @ prototype.double()).abs(), torch.tensor(1.0).double(), atol=1e-4, rtol=0
    )


@each("top_k", [1, 2, 3, 4, 9])
@each("temperature", [0.3, 1.0, 5.0])
def test_is_the_loop_over_tokens(top_k, temperature):
    experts, x = given(), torch.randn(2, 5, I)
    w = bound(experts, top_k=top_k, temperature=temperature)(x, Context())
    assert w.shape == (2, 5, 1, E)
    directions = [top_direction(f).float() for f in experts]
    for b in range(2):
        for t in range(5):
            score = [abs(float(v @ x[b, t])) / temperature for v in directions]
            kept = sorted(range(E), key=lambda e: -score[e])[:top_k]  # noqa: B023
            total = sum(torch.tensor(score[e]).exp() for e in kept)
            want = [float(torch.tensor(score[e]).exp() / total) if e in kept else 0 for e in range(E)]
            assert w[b, t, 0].tolist() == pytest.approx(want, abs=1e-4)


def test_temperature_spreads_and_sharpens():
    experts, x = given(), torch.randn(2, 50, I)

    def largest(temperature):
        return float(bound(experts, top_k=4, temperature=temperature)(x, Context()).amax(-1).mean())

    assert 0.25 < largest(100) < 0.27 < largest(1) < 0.99 < largest(0.001)


@each("top_k", [1, 3, 4])
def test_an_absent_expert_is_never_chosen(top_k):
    ranks, x = (R, None, R, None), 100 * torch.randn(2, 50, I)
    w = bound(given(ranks), top_k=top_k)(x, Context())
    assert w.isfinite().all() and not w[..., [1, 3]].any()
    torch.testing.assert_close(w.sum(-1), torch.ones(2, 50, 1))
    assert int((w > 0).sum(-1).max()) == min(top_k, 2)


@each("mix", [outputs, factors])
def test_in_a_layer(mix):
    experts, x = given(), torch.randn(2, 5, I)
    layer = ExpertLinear(nn.Linear(I, O), bank_of(experts), Arrow(top_k=2), mix)
    w = layer.router(x, Context())
    want = layer.base(x).clone()
    for b in range(2):
        for t in range(5):
            weights = w[b, t, 0].tolist()
            if mix is outputs:
                delta = sum(a * f.dense() for a, f in zip(weights, experts, strict=True))
            else:
                A = sum(a * f.A_RI for a, f in zip(weights, experts, strict=True))
                delta = sum(a * f.scale * f.B_OR for a, f in zip(weights, experts, strict=True)) @ A
            want[b, t] += delta @ x[b, t]
    torch.testing.assert_close(layer(x), want, atol=1e-5, rtol=1e-4)


def test_it_reads_the_delta_from_the_origin_and_not_the_raw_factors():
    bank = bank_of(given((R,)))
    A0, B0 = bank.A_ERI[0].detach().clone(), bank.B_EOR[0].detach().clone()
    bank.set_origin()
    with torch.no_grad():
        bank.A_ERI.add_(0.3 * torch.randn_like(bank.A_ERI))
        bank.B_EOR.add_(0.3 * torch.randn_like(bank.B_EOR))
    router = Arrow()
    router.bind(bank)
    delta = bank.B_EOR[0].detach() @ bank.A_ERI[0].detach() - B0 @ A0
    v = torch.linalg.svd(delta.double()).Vh[0]
    torch.testing.assert_close(
        (v @ router.prototype_EI[0].double()).abs(), torch.tensor(1.0).double(), atol=1e-5, rtol=0
    )
    raw = torch.linalg.svd(bank.B_EOR[0].detach() @ bank.A_ERI[0].detach()).Vh[0]
    assert (raw @ router.prototype_EI[0]).abs() < 0.99


@each("options", [{"top_k": 0}, {"top_k": -1}, {"temperature": 0.0}, {"temperature": -1.0}])
def test_what_cannot_be(options):
    with pytest.raises(Invalid, match="top_k >= 1 and temperature > 0"):
        Arrow(**options)
