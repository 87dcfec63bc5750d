"""One weight an expert and layer: what it may be, where it begins, and that an absent expert is not counted."""

import pytest
import torch

from tests.conftest import each
from tests.routers.test_uniform import make
from yosegi.core.context import Context
from yosegi.errors import Invalid, UnknownName
from yosegi.routers.static import Static

X = torch.zeros(2, 3, 6)


def weights(router, present=(1, 1, 0, 1)):
    router.bind(make(list(present)))
    return router(X, Context())


@each("constraint", ["softmax", "free", "sigmoid", "nonneg"])
def test_it_begins_even_and_the_absent_are_not_counted(constraint):
    w = weights(Static(constraint))
    assert w.shape == (1, 4)
    torch.testing.assert_close(w[0], torch.tensor([1, 1, 0, 1]) / 3)


def test_a_single_expert_has_its_weight():
    assert weights(Static(), [1]).item() == 1 and weights(Static("free"), [1]).item() == 1
    assert weights(Static("sigmoid"), [1]).item() == pytest.approx(0.95)


@each("constraint", ["free", "nonneg"])
def test_all_may_begin_at_one(constraint):
    torch.testing.assert_close(weights(Static(constraint, "one"))[0], torch.tensor([1.0, 1, 0, 1]))


@each("constraint, low, high, total", [
    ("softmax", 0, 1, 1), ("free", -9, 9, None), ("sigmoid", 0, 1, None), ("nonneg", 0, 9, None)
])  # fmt: skip
def test_what_it_may_become(constraint, low, high, total):
    router = Static(constraint)
    router.bind(make([1, 1, 1]))
    with torch.no_grad():
        router.a_E.copy_(torch.tensor([-3.0, 0.5, 2]))
    w = router(X, Context())[0]
    assert w.min() >= low and w.max() <= high and (total is None or w.sum().item() == pytest.approx(total))
    assert (w.min() < 0) == (constraint == "free") and w[0] < w[1] < w[2]


def test_the_random_start_is_the_authors():
    torch.manual_seed(0)
    many = torch.cat([weights(Static(start="random"), [1, 1]) for _ in range(4000)])
    torch.testing.assert_close(many.sum(1), torch.ones(4000))
    assert many[:, 0].mean().item() == pytest.approx(0.5, abs=0.02) and many[:, 0].std().item() == pytest.approx(
        0.26, abs=0.02
    )
    assert ((many[:, 0] - 0.5).abs() > 0.25).float().mean().item() == pytest.approx(0.43, abs=0.03)  # as methods say


def test_what_it_learnt_stays_when_it_is_attached_again():
    router = Static()
    router.bind(make([1, 1]))
    with torch.no_grad():
        router.a_E.copy_(torch.tensor([1.0, 2]))
    before = router(X, Context())
    router.bind(make([1, 1]))
    assert torch.equal(router(X, Context()), before)


@each("wrong", [{"constraint": "soft"}, {"start": "zero"}])
def test_unknown_names(wrong):
    with pytest.raises(UnknownName):
        Static(**wrong)


@each("pair", [("softmax", "one"), ("sigmoid", "one"), ("free", "random")])
def test_starts_that_cannot_be(pair):
    with pytest.raises(Invalid, match="cannot start at"):
        Static(*pair)
