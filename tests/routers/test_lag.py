"""LAG against dense SVDs and a loop over tokens: Arrow's first few, and of these SpectR's best."""

import pytest
import torch

from tests.conftest import each
from tests.routers.test_spectr import I, R, bank_of, given, score
from yosegi.core.context import Context
from yosegi.errors import Invalid
from yosegi.routers.lag import Lag
from yosegi.routers.spectr import Spectr


def bound(make, experts, **options):
    router = make(**options)
    router.bind(bank_of(experts))
    return router


def first(f, x):
    """Arrow's score from the dense delta."""
    V = torch.linalg.svd(f.B_OR.double() @ f.A_RI.double()).Vh
    return abs(float(V[0] @ x.double()))


@each("weighted", [False, True])
@each("candidates,top_k", [(1, 1), (2, 1), (3, 2), (9, 4)])
@each("ranks", [(R,) * 5, (1, 4, 2, 8, 3), (3, None, 1, None, 2)])
def test_is_the_loop_over_tokens(ranks, candidates, top_k, weighted):
    experts, x = given(ranks), torch.randn(2, 6, I)
    w = bound(Lag, experts, candidates=candidates, top_k=top_k, weighted=weighted)(x, Context())
    assert w.shape == (2, 6, 1, 5)
    there = [e for e, f in enumerate(experts) if f is not None]
    for b in range(2):
        for t in range(6):
            few = sorted(there, key=lambda e: -first(experts[e], x[b, t]))[:candidates]  # noqa: B023
            kept = sorted(few, key=lambda e: -score(experts[e], x[b, t], weighted))[:top_k]  # noqa: B023
            assert w[b, t, 0].tolist() == pytest.approx([1 / len(kept) if e in kept else 0 for e in range(5)])


def test_with_all_candidates_it_is_spectr():
    experts, x = given((R, 1, 4, 2)), torch.randn(20, I)
    one = bound(Lag, experts, candidates=4, top_k=2)(x, Context())
    assert torch.equal(one, bound(Spectr, experts, top_k=2)(x, Context()))


def test_it_is_neither_arrow_nor_spectr_alone():
    experts, x = given((R,) * 8), torch.randn(200, I)
    lag, spectr, arrow = (bound(Lag, experts, candidates=c, top_k=1)(x, Context()).argmax(-1) for c in (3, 8, 1))
    assert (lag != spectr).any() and (lag != arrow).any()


@each("candidates,top_k", [(0, 1), (2, 3), (2, 0)])
def test_what_cannot_be(candidates, top_k):
    with pytest.raises(Invalid, match="lag needs"):
        Lag(candidates=candidates, top_k=top_k)
