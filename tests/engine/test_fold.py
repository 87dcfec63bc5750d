"""A static routing and the expert it folds into say the same."""

import pytest
import torch

from tests.training.conftest import sums, tiny_base
from yosegi.core.model import attach
from yosegi.engine.fold import fold, static_weights
from yosegi.engine.rows import collate, tokenise
from yosegi.errors import Invalid
from yosegi.inits import fresh
from yosegi.routers.arrow import Arrow
from yosegi.routers.softmax import Softmax
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
    learnt = some_learnt(base, experts)
    weights = static_weights(experts, Static("free"), learnt)
    one = fold(experts, weights, "soup")
    assert one.card["parents"] == ["a", "b", "c"] and one.card["relative_error"] == 0 and one.rank == 7
    torch.testing.assert_close(
        logits(base, [one], Uniform()), logits(base, experts, Static("free"), learnt), atol=1e-5, rtol=1e-4
    )


def test_a_cut_says_its_error():
    base = tiny_base()
    experts = experts_of(base)
    weights = static_weights(experts, Uniform())
    whole, cut = fold(experts, weights, "whole"), fold(experts, weights, "cut", rank=2)
    lost = sum((whole.delta(n) - cut.delta(n)).square().sum() for n in whole.factors)
    total = sum(whole.delta(n).square().sum() for n in whole.factors)
    assert (
        cut.rank == 2
        and cut.card["relative_error"] == pytest.approx((lost / total).sqrt().item(), rel=1e-3)
        and lost > 0
    )


def test_what_looks_at_its_input_is_refused():
    base = tiny_base()
    experts = experts_of(base)
    with pytest.raises(Invalid, match="arrow looks at its input"):
        static_weights(experts, Arrow())
    with pytest.raises(Invalid, match="does not fit the router of layer"):
        static_weights(experts, Static("free"), {"elsewhere|a_E": torch.ones(3)})
    with pytest.raises(Invalid, match="3 experts need 3 weights"):
        fold(experts, {next(iter(experts[0].factors)): [1.0]}, "x")
    with pytest.raises(Invalid, match="name no layer"):
        fold(experts, {"elsewhere": [1.0, 1, 1]}, "x")


def test_a_router_of_whole_blocks_is_refused_in_the_same_words():
    base = tiny_base()
    with pytest.raises(Invalid, match="looks at its input: it cannot be folded"):
        static_weights(experts_of(base), Softmax(scope="ffn"), {})
