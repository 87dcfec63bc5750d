"""`fresh`: a new expert, whose numbers depend on the seed and the layer's name and on nothing else."""

import pytest
import torch

from yosegi import registry
from yosegi.core.model import attach, linears, weight
from yosegi.errors import Invalid, UnknownName
from yosegi.inits import fresh
from yosegi.routers.uniform import Uniform

INITS = registry.names("inits")


def equal(one, other, layers):
    return all(torch.equal(one.factors[n].A_RI, other.factors[n].A_RI) for n in layers)


@pytest.mark.parametrize("init", INITS)
def test_one_seed_one_start_whoever_asks_and_for_whichever_layers(llama, init):
    everywhere = fresh(llama, "a", rank=4, alpha=8, init=init)
    torch.manual_seed(99)  # the global generator has no say
    queries = fresh(llama, "b", rank=4, alpha=8, init=init, targets=["q_proj"], task="other")
    assert len(queries.factors) == 2 and len(everywhere.factors) == 14
    for layer, f in queries.factors.items():
        assert torch.equal(f.A_RI, everywhere.factors[layer].A_RI)
        assert torch.equal(f.B_OR, everywhere.factors[layer].B_OR)


@pytest.mark.parametrize("init", ["kaiming", "gaussian", "normal"])
def test_another_seed_or_another_layer_is_another_start(llama, init):
    one, other = (fresh(llama, "a", rank=4, alpha=8, init=init, seed=seed) for seed in (0, 1))
    layers = linears(llama)
    assert not any(equal(one, other, [layer]) for layer in layers)
    q0, q1 = (one.factors[f"model.layers.{i}.self_attn.q_proj"].A_RI for i in (0, 1))
    assert not torch.equal(q0, q1)


def test_the_start_does_not_depend_on_the_weights_of_the_base(llama):
    one = fresh(llama, "a", rank=4, alpha=8)
    with torch.no_grad():
        for parameter in llama.parameters():
            parameter.mul_(2)
    assert equal(one, fresh(llama, "a", rank=4, alpha=8), linears(llama))


def test_card_scale_and_shapes(any_model):
    expert = fresh(any_model, "a", rank=4, alpha=6, task=["x", "y"])
    modules = dict(any_model.named_modules())
    assert list(expert.factors) == linears(any_model)
    assert expert.name == "a" and expert.tasks == ("x", "y")
    for layer, f in expert.factors.items():
        O, I = weight(modules[layer]).shape
        assert f.A_RI.shape == (4, I) and f.B_OR.shape == (O, 4) and f.scale == 1.5
        assert f.A_RI.dtype == f.B_OR.dtype == torch.float32


@torch.no_grad()
@pytest.mark.parametrize("init", INITS)
def test_nothing_changes_at_step_0_and_an_ordinary_expert_comes_out(any_model, init):
    ids = torch.randint(3, 100, (2, 7))
    inputs = {"input_ids": ids} | ({"decoder_input_ids": ids} if any_model.config.is_encoder_decoder else {})
    before = any_model(**inputs).logits
    banks = attach(any_model, [fresh(any_model, "a", rank=4, alpha=8, init=init)], Uniform())
    for bank in banks.values():
        bank.set_origin()
    torch.testing.assert_close(any_model(**inputs).logits, before, atol=1e-5, rtol=1e-4)
    for bank in banks.values():  # "training"
        bank.A_ERI += 0.02 * torch.randn_like(bank.A_ERI)
        bank.B_EOR += 0.02 * torch.randn_like(bank.B_EOR)
    trained, expert = any_model(**inputs).logits, banks.experts()[0]
    assert (trained - before).abs().max() > 0.01
    banks.detach()
    assert torch.equal(any_model(**inputs).logits, before)
    attach(any_model, [expert], Uniform())  # beside the pristine base, as anyone else would use it
    torch.testing.assert_close(any_model(**inputs).logits, trained, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rank": 0}, "rank=0"),
        ({"rank": 33}, r"rank=33 is too large for layer .*k_proj, which is 32 x 64"),
        ({"alpha": 0}, "alpha=0"),
        ({"alpha": -1}, "alpha=-1"),
        ({"alpha": float("nan")}, "alpha=nan"),
        ({"targets": []}, r"targets=\[\] selects no linear"),
        ({"init": "pissa", "power_steps": 0}, "power_steps=0"),
    ],
)
def test_what_cannot_be(llama, arguments, message):
    with pytest.raises(Invalid, match=message):
        fresh(llama, "a", **{"rank": 4, "alpha": 8, **arguments})


def test_unknown_argument(llama):
    with pytest.raises(UnknownName, match="No argument of pissa is called 'power'. Did you mean 'power_steps'"):
        fresh(llama, "a", rank=4, alpha=8, init="pissa", power=3)
    with pytest.raises(UnknownName, match="No argument of kaiming is called 'std'. There are: none"):
        fresh(llama, "a", rank=4, alpha=8, std=0.1)


def test_unknown_init(llama):
    with pytest.raises(UnknownName, match="No init is called 'kaimin'. Did you mean 'kaiming'"):
        fresh(llama, "a", rank=4, alpha=8, init="kaimin")
