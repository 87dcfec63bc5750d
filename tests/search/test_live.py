"""What is written into a live bank answers as what is freshly put, to the last digits, and leaves no trace."""

import pytest
import torch

from yosegi.core.expert import Expert
from yosegi.core.layer import ExpertLinear
from yosegi.core.mix import named
from yosegi.core.model import attach
from yosegi.errors import Invalid
from yosegi.merges import merge
from yosegi.routers.arrow import Arrow
from yosegi.routers.uniform import Uniform
from yosegi.search.layers import group
from yosegi.search.live import Live, fold, summed
from yosegi.search.space import Recipe

IDS = torch.arange(12).reshape(2, 6)


@torch.no_grad()
def says(base):
    return base.model(IDS).logits.clone()


def fresh(base, experts, router, mix="outputs"):
    banks = attach(base.model, experts, router, named(mix))
    found = says(base)
    banks.detach()
    return found


def groups_of(experts, n=1, by_type=False):
    return group(experts[0].factors, n, by_type)[1]


RECIPES = [
    Recipe("merges", "cat", ((0.7, 0.0, -0.4),)),
    Recipe("merges", "cat", ((1.0, 0.0, 0.0),)),
    Recipe("merges", "task_arithmetic", ((0.3, 0.3, 0.4),)),
    Recipe("merges", "svd", ((0.7, 0.1, 0.4),), {"rank": 5}),
    Recipe("merges", "svd", ((0.7, 0.1, 0.4),), {"rank": 3}),
    Recipe("merges", "svd", ((0.0, 0.0, 0.4),), {"rank": 3}),
    Recipe("merges", "linear", ((0.2, 0.3, 0.4),)),
    Recipe("merges", "cat", ((0.0, 0.9, 0.1),)),
]


def test_every_recipe_answers_as_a_fresh_put_of_its_merge(nano, trio):
    """All through one live bank, wide after narrow and back, so that nothing of one trial is left in the next."""
    before = {name: t.clone() for name, t in nano.model.state_dict().items()}
    base, seen = says(nano), []
    with Live(nano, trio, groups_of(trio)) as live:
        for recipe in RECIPES * 2:
            live.write(recipe)
            seen.append(says(nano))
    assert not any(isinstance(m, ExpertLinear) for m in nano.model.modules())
    assert all(torch.equal(before[name], t) for name, t in nano.model.state_dict().items())
    for recipe, found in zip(RECIPES * 2, seen, strict=True):
        heard = [(e, w) for e, w in zip(trio, recipe.weights_GE[0], strict=True) if w]
        expert = merge([e for e, _ in heard], recipe.method, [w for _, w in heard], **recipe.args)
        wanted = fresh(nano, [expert], Uniform())
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
        assert (found - base).abs().max() > 0.01, "and it says something"


def test_a_merged_bank_answers_bit_for_bit(nano, trio):
    recipe = Recipe("merges", "svd", ((0.5, 0.2, 0.3),), {"rank": 4})
    with Live(nano, trio, groups_of(trio)) as live:
        live.write(recipe)
        found = says(nano)
    assert torch.equal(found, fresh(nano, [merge(trio, "svd", [0.5, 0.2, 0.3], rank=4)], Uniform()))


def test_an_expert_alone_is_that_expert_by_every_method(nano, trio):
    wanted = fresh(nano, trio[1:2], Uniform())
    for method in ("cat", "svd", "linear"):
        with Live(nano, trio, groups_of(trio)) as live:
            live.write(Recipe("merges", method, ((0.0, 1.0, 0.0),)))
            torch.testing.assert_close(says(nano), wanted, atol=1e-4, rtol=1e-4)


def test_all_zero_is_the_base_bit_for_bit(nano, trio):
    base = says(nano)
    with Live(nano, trio, groups_of(trio)) as live:
        for recipe in RECIPES:  # also after something else
            live.write(recipe)
            live.write(Recipe("merges", recipe.method, ((0.0, 0.0, 0.0),), recipe.args))
            assert torch.equal(says(nano), base), recipe


@pytest.mark.parametrize("method", ["cat", "svd"])
def test_groups_of_layers_have_weights_of_their_own(nano, trio, method):
    groups = groups_of(trio, 2, by_type=True)
    recipe = Recipe("merges", method, ((0.5, 0.2, 0.1), (0.0, 0.0, 1.0), (0.0, 0.0, 0.0), (0.3, 0.3, 0.3)))
    folded = fold(trio, recipe, groups)
    for layer, g in groups.items():
        wanted = sum(w * e.delta(layer) for w, e in zip(recipe.weights_GE[g], trio, strict=True))
        if method == "cat" and wanted.any():
            torch.testing.assert_close(folded.delta(layer), wanted, atol=1e-5, rtol=1e-4)
        assert (layer in folded.factors) == bool(wanted.any())
    with Live(nano, trio, groups) as live:
        live.write(Recipe("merges", method, ((1.0, 1.0, 1.0),) * 4))
        live.write(recipe)
        found = says(nano)
    torch.testing.assert_close(found, fresh(nano, [folded], Uniform()), atol=1e-4, rtol=1e-4)


def test_a_sum_writes_one_small_tensor_and_nothing_is_put_again(nano, trio):
    with Live(nano, trio, groups_of(trio, 2)) as live:
        banks = live.write(Recipe("merges", "cat", ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))))
        places = {layer.router.w_HE.data_ptr() for layer in banks.layers.values()}
        kept = {name: bank.A_ERI.data_ptr() for name, bank in banks.items()}
        assert len(places) == 2, "a view of one tensor, by group"
        assert live.write(Recipe("merges", "cat", ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6)))) is banks
        assert {name: bank.A_ERI.data_ptr() for name, bank in banks.items()} == kept
        seen = {tuple(round(w, 3) for w in layer.router.w_HE[0].tolist()) for layer in banks.layers.values()}
        assert seen == {(0.1, 0.2, 0.3), (0.4, 0.5, 0.6)}


def test_router_settings_answer_as_a_fresh_put(nano, trio):
    settings, found = [(1, 1.0), (3, 5.0), (2, 0.5), (1, 1.0)], []
    with Live(nano, trio, groups_of(trio)) as live:
        for top_k, temperature in settings:
            if len(found) == 3:
                live.write(RECIPES[0])  # and a blend in between
            live.write(Recipe("routers", "arrow", (), {"top_k": top_k, "temperature": temperature}))
            found.append(says(nano))
    for (top_k, temperature), one in zip(settings, found, strict=True):
        assert torch.equal(one, fresh(nano, trio, Arrow(top_k, temperature)))


def test_what_a_router_learnt_is_remembered_by_every_trial(nano, trio):
    from yosegi.routers.centroid import Centroid

    banks = attach(nano.model, trio, Centroid())
    for layer in banks.layers.values():
        layer.router.fit(torch.randn(3, layer.in_features))
    learnt = {key: value.clone() for key, value in banks.router_state().items()}
    banks.detach()
    banks = attach(nano.model, trio, Centroid(top_k=2, temperature=0.1))
    banks.load_router_state(learnt)
    wanted = says(nano)
    banks.detach()
    with Live(nano, trio, groups_of(trio), learnt=learnt) as live:
        live.write(Recipe("routers", "centroid", (), {"top_k": 1}))
        live.write(Recipe("routers", "centroid", (), {"top_k": 2, "temperature": 0.1}))
        assert torch.equal(says(nano), wanted)


def test_a_card_says_who_was_heard(trio):
    folded = fold(trio, Recipe("merges", "svd", ((0.5, 0.0, 0.5),), {"rank": 2}), groups_of(trio), "x")
    assert (
        folded.name == "x"
        and folded.card["parents"] == ["a", "c"]
        and folded.card["task"] == ["skills/add", "skills/sort"]
    )
    assert folded.card["relative_error"] > 0 and folded.rank == 2
    assert fold(trio, Recipe("merges", "svd", ((0.0, 0.0, 0.0),)), groups_of(trio)) == Expert("merged", {}, {})
    with pytest.raises(Invalid, match="arrow"):
        fold(trio, Recipe("routers", "arrow"), groups_of(trio))


def test_only_plain_sums_are_written_as_weights():
    assert summed(Recipe("merges", "cat")) and not summed(Recipe("merges", "svd"))
    assert not summed(Recipe("merges", "cat", (), {"an argument": 1})) and not summed(Recipe("routers", "cat"))
