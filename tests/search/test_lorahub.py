"""LoraHub: better than the base on its examples, within its bounds and budget; the sign that their blend loses."""

import pytest
import torch

from yosegi.core.layer import ExpertLinear
from yosegi.core.mix import named
from yosegi.core.model import attach
from yosegi.engine.arm import Arm
from yosegi.engine.score import score_answers
from yosegi.errors import Invalid
from yosegi.routers.uniform import Uniform
from yosegi.search import lorahub as module
from yosegi.search.lorahub import lorahub
from yosegi.search.workbench import Workbench
from yosegi.tasks import load


@pytest.fixture
def few():
    return load("skills/reverse").examples("train")[:5]


def loss(base, expert, examples):
    banks = attach(base.model, [expert], Uniform())
    logps = score_answers(base, examples, banks=banks)
    banks.detach()
    return -sum(logps) / len(logps)


@pytest.mark.parametrize("mix", ["outputs", "factors"])
def test_it_is_better_than_the_base_and_says_what_it_measured(nano, trio, few, mix):
    expert = lorahub(nano, trio, few, mix=mix, budget=30)
    recipe = expert.card["training"]
    assert recipe["loss"] < recipe["loss_of_base"] and recipe["mix"] == mix and recipe["budget"] == 30
    assert recipe["loss_of_base"] == pytest.approx(-sum(score_answers(nano, few)) / 5, abs=1e-5)
    w = recipe["weights"]
    assert max(map(abs, w)) <= 1.5 and any(w)
    alone = loss(nano, expert, few) + 0.05 * sum(map(abs, w)) / 3
    assert alone == pytest.approx(recipe["loss"], abs=1e-4), "the folded expert is what was measured"
    assert expert.rank == (6 if mix == "outputs" else 2) and expert.card["parents"] == ["a", "b", "c"]
    assert not any(isinstance(m, ExpertLinear) for m in nano.model.modules())


def test_the_sign_is_lost_where_factors_are_blended_and_not_where_answers_are(nano, trio):
    ids, said = torch.arange(8)[None], {}
    for mix in ("outputs", "factors"):
        with Workbench(nano, trio[:1]) as bench:
            for w in (1.0, -1.0, 0.5):
                bench.apply(Arm.weighted("x", trio[:1], [w], mix=mix))
                with torch.no_grad():
                    said[mix, w] = nano.model(ids).logits.clone()
    assert torch.allclose(said["factors", 1.0], said["factors", -1.0])
    assert not torch.allclose(said["outputs", 1.0], said["outputs", -1.0], atol=0.1)
    assert torch.allclose(said["factors", 1.0], said["outputs", 1.0], atol=1e-4), "and at 1 they are the same"
    quarter = attach(nano.model, [trio[0].scale(0.25)], Uniform(), named("outputs"))  # w² of it
    with torch.no_grad():
        assert torch.allclose(said["factors", 0.5], nano.model(ids).logits, atol=1e-4)
    quarter.detach()


def test_the_budget_is_kept_and_zero_is_tried_first(nano, trio, few, monkeypatch):
    seen = []
    real = module.Workbench.apply

    def watched(self, arm):
        seen.append(arm.weights)
        return real(self, arm)

    monkeypatch.setattr(module.Workbench, "apply", watched)
    for budget in (1, 9):
        seen.clear()
        expert = lorahub(nano, trio, few[:2], budget=budget)
        assert len(seen) == budget and seen[0] == [0.0, 0.0, 0.0]
        assert expert.card["training"]["weights"] in seen
    again = lorahub(nano, trio, few[:2], budget=9)
    assert again.card["training"] == expert.card["training"], "the same twice"


def test_a_rank_cuts_the_sum(nano, trio, few):
    expert = lorahub(nano, trio, few, budget=8, rank=3, name="cut")
    assert expert.rank == 3 and expert.name == "cut" and expert.card["relative_error"] > 0
    with pytest.raises(Invalid, match="rank is for mix=outputs"):
        lorahub(nano, trio, few, mix="factors", rank=3)


@pytest.mark.parametrize(("experts", "examples", "budget"), [(0, 1, 1), (1, 0, 1), (1, 1, 0)])
def test_nothing_to_do_is_refused(nano, trio, few, experts, examples, budget):
    with pytest.raises(Invalid, match="needs experts, examples and a budget"):
        lorahub(nano, trio[:experts], few[:examples], budget=budget)
