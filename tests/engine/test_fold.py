"""A static routing and the expert it folds into say the same."""

import dataclasses

import pytest
import torch

from tests.training.conftest import sums, tiny_base
from yosegi.core.model import attach
from yosegi.engine.arm import Arm
from yosegi.engine.fold import fold, static_weights
from yosegi.engine.rows import collate, tokenise
from yosegi.errors import Invalid
from yosegi.inits import fresh
from yosegi.merges import merge
from yosegi.routers.static import Static
from yosegi.routers.uniform import Uniform


def experts_of(base):
    """Three experts of different ranks; the last one has only some of the layers."""
    torch.manual_seed(0)
    made = [fresh(base.model, n, rank=r, alpha=4, targets=t, seed=r) for n, r, t in
            [("a", 2, "all-linear"), ("b", 3, "all-linear"), ("c", 2, ["q_proj", "up_proj"])]]  # fmt: skip
    for expert in made:
        for factors in expert.factors.values():
            factors.B_OR.normal_(std=0.05)
    return made


@torch.no_grad()
def logits(base, experts, router, learnt=None):
    banks = attach(base.model, experts, router)
    if learnt:
        banks.load_router_state(learnt)
    batch = collate(base.tokenizer.pad_token_id)(tokenise(base, sums()[:5], 64))
    try:
        return base.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    finally:
        banks.detach()


def some_learnt(base, experts):
    banks = attach(base.model, experts, Static("free"))
    learnt = {key: torch.randn_like(value) for key, value in banks.router_state().items()}
    banks.detach()
    return learnt


def test_folded_and_routed_say_the_same():
    base = tiny_base()
    experts = experts_of(base)
    arm = Arm("cat", experts, "static", {"constraint": "free"}, some_learnt(base, experts), training={"lr": 0.1})
    one = fold(arm, "soup")
    assert one.card["parents"] == ["a", "b", "c"] and one.card["relative_error"] == 0 and one.rank == 7
    assert one.card["training"]["arm"] == {"name": "cat", "lr": 0.1}
    torch.testing.assert_close(
        logits(base, [one], Uniform()), logits(base, experts, Static("free"), arm.router_state), atol=1e-5, rtol=1e-4
    )


def test_a_cut_says_its_error():
    base = tiny_base()
    arm = Arm("u", experts_of(base))
    whole, cut = fold(arm, "whole"), fold(arm, "cut", rank=2)
    lost = sum((whole.delta(n) - cut.delta(n)).square().sum() for n in whole.factors)
    total = sum(whole.delta(n).square().sum() for n in whole.factors)
    error = pytest.approx((lost / total).sqrt().item(), rel=1e-3)
    assert cut.rank == 2 and cut.card["relative_error"] == error and lost > 0


def test_fixed_weights_and_what_is_ablated():
    experts = experts_of(tiny_base())
    arm = Arm.weighted("w", experts, [0.7, 0.3, -1])
    for one, w_E in (
        (fold(arm, "x"), [0.7, 0.3, -1]),
        (fold(dataclasses.replace(arm, ablate=("b",)), "x"), [0.7, 0, -1]),
    ):
        for layer in one.factors:
            deltas = [w * e.delta(layer) for w, e in zip(w_E, experts, strict=True) if layer in e.factors]
            torch.testing.assert_close(one.delta(layer), sum(deltas), atol=1e-6, rtol=1e-5)
    assert fold(arm, "x").card["training"]["weights"] == [0.7, 0.3, -1]
    layer = next(iter(experts[0].factors))
    assert torch.equal(fold(Arm("a", experts[:1]), "y").delta(layer), experts[0].delta(layer))


def test_a_merge_is_folded_by_its_own_method():
    experts = experts_of(tiny_base())
    arm = Arm("m", experts, merge="svd", merge_args={"rank": 4, "weights": [0.5, 0.25, 0.25]})
    assert fold(arm, "one").rank == 4 and fold(arm, "one", rank=2).rank == 2
    layer = next(iter(experts[0].factors))
    torch.testing.assert_close(
        fold(arm, "one").delta(layer), merge(experts, "svd", [0.5, 0.25, 0.25], rank=4).delta(layer)
    )


def test_what_looks_at_its_input_is_refused():
    experts = experts_of(tiny_base())
    with pytest.raises(Invalid, match="arrow looks at its input"):
        fold(Arm("a", experts, "arrow"), "x")
    with pytest.raises(Invalid, match="softmax looks at its input"):
        static_weights(Arm("s", experts, "softmax", {"scope": "ffn"}))
    with pytest.raises(Invalid, match="mixes factors"):
        fold(Arm("a", experts, mix="factors"), "x")
    with pytest.raises(Invalid, match="base has no experts"):
        fold(Arm("base"), "x")
    with pytest.raises(Invalid, match="does not fit layer"):
        fold(Arm("a", experts, "static", {"constraint": "free"}, {"|a_E": torch.ones(2)}, ablate=("a",)), "x")
