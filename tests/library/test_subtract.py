"""Against dense deltas, against PEFT's own subtraction, and what has no answer is refused."""

import pytest
import torch
from torch import nn

from tests.conftest import each
from yosegi.core.expert import Expert, Factors
from yosegi.errors import Invalid, UnknownName, WrongBase
from yosegi.library.store import Library
from yosegi.library.subtract import subtract

LAYERS = {"q": (7, 5), "v": (4, 9)}


def expert(name, rank=2, scale=0.5, layers=LAYERS, dtype=torch.float32, **card):
    known = {"base": "b", "base_hash": "abc", "task": [f"task {name}"], "init": "kaiming", "init_seed": 0}
    factors = {
        layer: Factors(torch.randn(rank, I, dtype=dtype), torch.randn(O, rank, dtype=dtype), scale)
        for layer, (O, I) in layers.items()
    }
    return Expert(name, factors, known | {"sha256": "s", "metrics": {"loss": 1.0}, "data_hash": "d"} | card)


@each("ranks, scales", [((2, 2), (0.5, 0.5)), ((3, 1), (2.0, 0.7)), ((1, 4), (-1.0, 0.0))])
def test_delta_is_the_difference_of_deltas(ranks, scales):
    t, g = expert("t", ranks[0], scales[0]), expert("g", ranks[1], scales[1])
    result = subtract(t, g)
    assert result.name == "t" and result.rank == sum(ranks)
    for layer in LAYERS:
        torch.testing.assert_close(result.delta(layer), t.delta(layer) - g.delta(layer), atol=1e-5, rtol=0)


def test_delta_rounds_nothing_where_scales_are_equal():
    t, g = expert("t", dtype=torch.bfloat16), expert("g", dtype=torch.bfloat16)
    f = subtract(t, g).factors["q"]
    assert f.A_RI.dtype == f.B_OR.dtype == torch.bfloat16 and f.scale == 0.5
    assert torch.equal(f.A_RI, torch.cat([t.factors["q"].A_RI, g.factors["q"].A_RI]))
    assert torch.equal(f.B_OR, torch.cat([t.factors["q"].B_OR, -g.factors["q"].B_OR], 1))


def test_an_expert_without_itself_is_nothing():
    t = expert("t")
    assert max(subtract(t, t).delta(layer).abs().max() for layer in LAYERS) < 1e-6


def test_a_layer_that_only_one_has():
    t, g = expert("t", layers={"q": LAYERS["q"]}), expert("g", 3, 2.0, layers={"v": LAYERS["v"]})
    result = subtract(t, g)
    assert result.factors["q"] is t.factors["q"]
    torch.testing.assert_close(result.delta("v"), -g.delta("v"))
    with pytest.raises(Invalid, match=r"Only one of the experts 't' and 'g' has layer q.*mode='delta'"):
        subtract(t, g, "factors")


def test_factors_is_what_peft_does_and_not_the_difference_of_deltas():
    from peft import ArrowConfig
    from peft.tuners.lora.arrow import ArrowLoraLinearLayer

    t, g = expert("t"), expert("g")
    result = subtract(t, g, "factors")
    for layer, (O, I) in LAYERS.items():
        A, B = nn.ModuleDict(), nn.ModuleDict()
        for e in (t, g):
            f = e.factors[layer]
            A[e.name], B[e.name] = nn.Linear(I, 2, bias=False), nn.Linear(2, O, bias=False)
            A[e.name].weight.data, B[e.name].weight.data = f.A_RI.clone(), f.B_OR.clone()
        config = ArrowConfig(use_gks=True)
        config.task_adapter_names, config.gks_adapter_names = ["t"], ["g"]
        ArrowLoraLinearLayer(I, config).gen_know_sub(A, B)
        f = result.factors[layer]
        assert torch.equal(f.A_RI, A["t"].weight) and torch.equal(f.B_OR, B["t"].weight) and f.scale == 0.5
        true = t.delta(layer) - g.delta(layer)
        assert (result.delta(layer) - true).norm() / true.norm() > 0.3


@pytest.mark.parametrize("mode", ["delta", "factors"])
def test_the_card_says_where_it_comes_from_and_it_can_be_kept(mode, tmp_path):
    result = subtract(expert("t", task_type="SEQ_2_SEQ_LM"), expert("g"), mode, "t without g")
    assert result.card["parents"] == ["t", "g"] and result.card["training"] == {"subtract": "g", "mode": mode}
    assert (
        result.tasks == ("task t",) and result.card["task_type"] == "SEQ_2_SEQ_LM" and result.card["data_hash"] == "d"
    )
    assert not {"metrics", "sha256", "init", "init_seed"} & set(result.card), "those were of the other expert"
    library = Library(tmp_path)
    library.add(result)
    again = library["t without g"]
    assert all(torch.equal(again.delta(layer), result.delta(layer)) for layer in LAYERS)
    assert again.card["base_hash"] == "abc" and again.card["rank"] == (4 if mode == "delta" else 2)


def test_its_experts_are_left_alone():
    t, g = expert("t"), expert("g")
    before = [x.clone() for e in (t, g) for f in e.factors.values() for x in f[:2]]
    for mode in ("delta", "factors"):
        subtract(t, g, mode)
    after = [x for e in (t, g) for f in e.factors.values() for x in f[:2]]
    assert all(torch.equal(x, y) for x, y in zip(before, after, strict=True)) and t.card["metrics"]


def test_what_factors_cannot_say_is_refused_with_the_way_out():
    t = expert("t")
    for other, why in (
        (expert("g", rank=3), "ranks 2 and 3"),
        (expert("g", scale=2.0), "scales 0.5 and 2"),
        (expert("g", init_seed=1), "kaiming, seed 0; kaiming, seed 1.*cannot be subtracted"),
    ):
        with pytest.raises(Invalid, match=rf"{why}.*mode='delta'"):
            subtract(t, other, "factors")
        assert subtract(t, other).factors
    with pytest.warns(UserWarning, match="'g' .1 of 2. does not say.*subtracted"):
        subtract(t, expert("g", init=None), "factors")


def test_other_bases_and_unknown_modes_are_refused():
    t = expert("t")
    for mode in ("delta", "factors"):
        with pytest.raises(WrongBase, match=r"different bases \(abc and def\)"):
            subtract(t, expert("g", base_hash="def"), mode)
        with pytest.raises(WrongBase, match="different bases: layer q is 7 x 5 and 7 x 6"):
            subtract(t, expert("g", layers={"q": (7, 6)}), mode)
    with pytest.raises(UnknownName, match="'deltas'. Did you mean 'delta'"):
        subtract(t, t, "deltas")
