"""Experts into real architectures and out again: nn.Linear, T5's encoder-decoder, GPT-2's transposed Conv1D."""

import copy
import re

import pytest
import torch
from torch import nn

from tests.conftest import each
from yosegi.core.expert import Expert
from yosegi.core.layer import ExpertLinear
from yosegi.core.mix import factors
from yosegi.core.model import attach, linears, shape, weight
from yosegi.core.router import Router
from yosegi.errors import Invalid, UnknownName
from yosegi.routers.arrow import Arrow
from yosegi.routers.by_request import ByRequest
from yosegi.routers.oracle import Oracle
from yosegi.routers.softmax import Softmax
from yosegi.routers.task_table import TaskTable
from yosegi.routers.uniform import Uniform

SMALL = 0.02  # experts of about the size that training makes them


def tokens(batch=2, length=7):
    return torch.randint(3, 100, (batch, length))


def logits(model, ids):
    if model.config.is_encoder_decoder:
        return model(input_ids=ids, decoder_input_ids=ids.flip(1)).logits
    return model(input_ids=ids).logits


@torch.no_grad()
def merged(model, experts, weights):
    """A copy of the model with Σ w ΔW added to its weights: what an expert means, as a dense weight."""
    model = copy.deepcopy(model)
    modules = dict(model.named_modules())
    for expert, w in zip(experts, weights, strict=True):
        for layer in expert.factors:
            delta, module = w * expert.delta(layer), modules[layer]
            module.weight += delta if isinstance(module, nn.Linear) else delta.T
    return model


def close(got, want):
    torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_experts_are_added_to_the_weights(any_model, experts):
    ids, given = tokens(), experts(any_model, 3, rank=(1, 3, 2), size=SMALL)
    base = logits(any_model, ids)
    want = logits(merged(any_model, given, [1 / 3] * 3), ids)
    attach(any_model, given, Uniform())
    close(logits(any_model, ids), want)
    assert (want - base).abs().max() > 0.01


@torch.no_grad()
def test_each_sequence_gets_the_expert_that_it_names(any_model, experts):
    ids, given = tokens(batch=3), experts(any_model, 2, size=SMALL)
    wants = [any_model, merged(any_model, given, [0, 1]), merged(any_model, given, [1, 0])]
    want = torch.cat([logits(model, ids[i : i + 1]) for i, model in enumerate(wants)])
    banks = attach(any_model, given, ByRequest())
    banks.set_batch(experts=[None, "b", "a"])
    close(logits(any_model, ids), want)


@torch.no_grad()
def test_generate(any_model, experts):
    ids, given = tokens(batch=2), experts(any_model, 2, size=0.3)
    how = {"max_new_tokens": 5, "do_sample": False}
    want = merged(any_model, given, [0, 1]).generate(ids, **how)
    banks = attach(any_model, given, ByRequest())
    banks.set_batch(experts=["b", "b"])
    assert torch.equal(any_model.generate(ids, **how), want)
    banks.route(Arrow(top_k=1))
    assert any_model.generate(ids, **how).shape[0] == 2


def test_what_is_taken_out_is_what_went_in(any_model, experts):
    ids = tokens()
    flags = {}
    for i, (name, parameter) in enumerate(any_model.named_parameters()):
        flags[name] = i % 3 > 0
        parameter.requires_grad_(flags[name])
    modules = dict(any_model.named_modules())
    state = {name: tensor.clone() for name, tensor in any_model.state_dict().items()}
    before = logits(any_model, ids)

    banks = attach(any_model, experts(any_model, 2), Uniform(), dropout=0.1)
    assert all(isinstance(any_model.get_submodule(name), ExpertLinear) for name in banks)
    assert not any(p.requires_grad for n, p in any_model.named_parameters() if ".bank." not in n)
    optimizer = torch.optim.AdamW(banks.parameters().values(), lr=0.1)
    any_model.train()
    logits(any_model, ids).square().mean().backward()
    optimizer.step()
    any_model.eval()
    assert (logits(any_model, ids) - before).abs().max() > 0.1
    banks.detach()

    after = dict(any_model.named_modules())
    assert list(after) == list(modules) and all(after[name] is modules[name] for name in modules)
    assert {name: p.requires_grad for name, p in any_model.named_parameters()} == flags
    assert list(any_model.state_dict()) == list(state)
    assert all(torch.equal(tensor, state[name]) for name, tensor in any_model.state_dict().items())
    assert torch.equal(logits(any_model, ids), before)


def test_taken_out_is_taken_out(llama, experts):
    banks = attach(llama, experts(llama, 1), Uniform())
    banks.detach()
    again = attach(llama, experts(llama, 2), Uniform())
    banks.detach()  # nothing is left to take; the new experts stay
    assert len(banks) == 0 and len(again.names) == 2 and llama.get_submodule(next(iter(again))).bank is not None
    with pytest.raises(Invalid, match="taken out"):
        banks.set_batch(tasks=["task_a"])


def test_what_trains(llama, experts):
    layers = linears(llama)
    banks = attach(llama, experts(llama, 2), Uniform())
    assert set(banks.parameters()) == {f"{layer}.bank.{factor}" for layer in layers for factor in ("A_ERI", "B_EOR")}


def test_a_mapping_of_banks(llama, experts):
    layers = linears(llama)
    banks = attach(llama, experts(llama, 2), Uniform())
    assert list(banks) == layers and len(banks) == 14
    assert banks.names == ("a", "b") and banks.tasks == ["task_a", "task_b"]
    assert all(bank.names == ("a", "b") for bank in banks.values())


def test_experts_come_out_as_they_stand(llama, experts):
    given = experts(llama, 2, rank=(1, 3))
    banks = attach(llama, given, Uniform(), rank=4)
    for want, got in zip(given, banks.experts(), strict=True):
        assert got.name == want.name and got.tasks == want.tasks and got.rank == want.rank
        for layer in want.factors:
            assert torch.equal(got.delta(layer), want.delta(layer))


@torch.no_grad()
def test_an_expert_is_not_active_in_a_layer_that_it_lacks(llama, experts):
    ids = tokens()
    queries = Expert("q", {n: f for n, f in experts(llama, 1, size=SMALL)[0].factors.items() if n.endswith("q_proj")})
    rest = experts(llama, 1, targets=["q_proj", "down_proj"], size=SMALL)[0]
    banks = attach(llama, [queries, rest], Uniform())
    assert len(banks) == 4
    down = next(n for n in banks if n.endswith("down_proj"))
    assert banks[down].present_E.tolist() == [False, True]
    assert banks.experts()[0].factors.keys() == queries.factors.keys()
    output = logits(llama, ids)
    banks.detach()
    # Uniform shares a layer among those that have it: both in q_proj, one alone in down_proj.
    halves = [Expert(e.name, {n: f for n, f in e.factors.items() if n.endswith("q_proj")}) for e in (queries, rest)]
    alone = Expert("d", {n: f for n, f in rest.factors.items() if n.endswith("down_proj")})
    close(output, logits(merged(llama, [*halves, alone], [0.5, 0.5, 1]), ids))


def test_attaching_twice_is_refused(llama, experts):
    given = experts(llama, 2)
    banks = attach(llama, given[:1], Uniform())
    with pytest.raises(Invalid, match="already has experts"):
        attach(llama, given[1:], Uniform())
    assert banks.names == ("a",)


@pytest.mark.parametrize(
    ("spoil", "options", "message"),
    [
        (lambda es: [], {}, "no expert"),
        (lambda es: [es[0], es[0]], {}, "called 'a'"),
        (lambda es: [Expert("a", {})], {}, "no layer at all"),
        (lambda es: es, {"heads": 5}, "heads=5 must divide"),
        (lambda es: es, {"mix": factors}, "same rank"),
        (lambda es: es, {"rank": 2}, "too narrow"),
        (lambda es: [Expert("x", {"model.embed_tokens": next(iter(es[0].factors.values()))})], {}, "No linear"),
        (lambda es: [Expert("x", {"model.layers.0.q": next(iter(es[0].factors.values()))})], {}, "No linear"),
        (lambda es: [*es, _misfit(es[0])], {}, "do not fit"),
    ],
)
def test_an_attach_that_fails_leaves_the_model_alone(llama, experts, spoil, options, message):
    modules = dict(llama.named_modules())
    with pytest.raises((Invalid, UnknownName), match=message):
        attach(llama, spoil(experts(llama, 2, rank=(2, 3))), Uniform(), **options)
    assert dict(llama.named_modules()) == modules
    assert all(parameter.requires_grad for parameter in llama.parameters())


def _misfit(expert):
    """An expert whose last layer has the factors of another one."""
    names = list(expert.factors)
    return Expert("misfit", {**expert.factors, names[-1]: expert.factors[names[0]]})


def test_set_batch(llama, experts):
    banks = attach(llama, experts(llama, 3), Uniform())
    mask = torch.ones(2, 4)
    banks.set_batch(tasks=["task_c", "task_a"], experts=["b", None], mask_BT=mask)
    assert banks.context.task_B.tolist() == [2, 0] and banks.context.expert_B.tolist() == [1, -1]
    assert banks.context.mask_BT is mask
    banks.set_batch()
    assert (banks.context.task_B, banks.context.expert_B, banks.context.mask_BT) == (None, None, None)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({"tasks": ["task_x"]}, "No task of this bank is called 'task_x'. Did you mean 'task_.'"),
        ({"experts": ["z"]}, "No expert of this bank is called 'z'. There are: a, b"),
    ],
)
def test_set_batch_refuses_the_unknown(llama, experts, batch, message):
    banks = attach(llama, experts(llama, 2), Uniform())
    banks.set_batch(tasks=["task_a"])
    with pytest.raises(UnknownName, match=message):
        banks.set_batch(**batch)
    assert banks.context.task_B.tolist() == [0]  # the batch before still holds


class Noisy(Router):
    """Draws its weights, in training only."""

    def forward(self, x, context):
        return torch.rand(1, 2) if self.training else torch.ones(1, 2)


def test_route_gives_every_layer_its_own_router(llama, experts):
    banks = attach(llama, experts(llama, 2), Uniform())
    router = Arrow(top_k=1)
    banks.route(router)
    routers = [layer.router for layer in banks.layers.values()]
    assert len({id(r) for r in [*routers, router]}) == len(routers) + 1
    assert all(hasattr(r, "prototype_EI") for r in routers) and not hasattr(router, "prototype_EI")
    banks.route(Noisy())
    ids = tokens()
    assert torch.equal(logits(llama, ids), logits(llama, ids))  # the model is in eval, so is its new router


@torch.no_grad()
def test_route_changes_the_mix_only_if_one_is_given(llama, experts):
    ids = tokens()
    banks = attach(llama, experts(llama, 2), Uniform(), mix=factors)
    output = logits(llama, ids)
    banks.route(Uniform())
    assert torch.equal(logits(llama, ids), output)


def test_route_refuses_factors_among_mixed_ranks(llama, experts):
    banks = attach(llama, experts(llama, 2, rank=(2, 3)), Uniform())
    with pytest.raises(Invalid, match="same rank"):
        banks.route(Oracle(), factors)
    assert all(isinstance(layer.router, Uniform) and layer.mix is not factors for layer in banks.layers.values())


def test_routing_is_recorded_by_layer_name(llama, experts):
    banks = attach(llama, experts(llama, 3), Arrow(top_k=2))
    banks.context.weights = {}
    logits(llama, tokens())
    assert list(banks.context.weights) == list(banks)
    assert all(w.shape == (2, 7, 1, 3) for w in banks.context.weights.values())


def test_activation_checkpointing_changes_nothing(llama, experts):
    ids = tokens()
    banks = attach(llama, experts(llama, 2, size=SMALL), Arrow(top_k=1)).context
    llama.train()

    def gradients():
        banks.weights = {}
        llama.zero_grad()
        loss = logits(llama, ids).square().mean()
        recorded = {name: w.detach().clone() for name, w in banks.weights.items()}
        loss.backward()
        assert list(banks.weights) == list(recorded) and len(recorded) == 14
        assert all(torch.equal(banks.weights[name], w) for name, w in recorded.items())
        return {name: p.grad.clone() for name, p in llama.named_parameters() if p.requires_grad}

    plain = gradients()
    llama.activation_checkpointing_enable({"use_reentrant": False})
    assert llama.is_activation_checkpointing
    again = gradients()
    assert len(plain) == 28
    for name, gradient in plain.items():
        assert gradient.any(), name
        assert torch.equal(again[name], gradient), name


@pytest.mark.parametrize("router", [Uniform(), Arrow(top_k=1)])
def test_a_model_that_changes_its_dtype_with_experts_in_it(any_model, experts, router):
    ids = tokens()
    attach(any_model, experts(any_model, 2, size=SMALL), router)
    want = logits(any_model, ids)
    got = logits(any_model.to(torch.bfloat16), ids)
    assert got.dtype == torch.bfloat16 and got.isfinite().all()
    if isinstance(router, Uniform):
        assert (got - want).norm() < 0.1 * want.norm()


def test_training_mode_follows_the_model(llama, experts):
    banks = attach(llama.train(), experts(llama, 1), Uniform(), dropout=0.5)
    assert all(layer.training and layer.dropout.training for layer in banks.layers.values())
    banks.detach()
    banks = attach(llama.eval(), experts(llama, 1), Uniform(), dropout=0.5)
    assert not any(layer.training or layer.dropout.training for layer in banks.layers.values())


def test_linears_by_every_kind_of_name(llama):
    q = ["model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.q_proj"]
    v = ["model.layers.0.self_attn.v_proj", "model.layers.1.self_attn.v_proj"]
    assert linears(llama, "q_proj") == linears(llama, ["q_proj"]) == linears(llama, r".*\.q_proj") == q
    assert linears(llama, ["v_proj", "self_attn.q_proj"]) == [q[0], v[0], q[1], v[1]]  # in the model's order
    assert linears(llama, q[1]) == linears(llama, [q[1]]) == q[1:]
    assert linears(llama, r".*layers\.1.*\.(q|v)_proj") == [q[1], v[1]]


def test_the_head_is_not_a_target(any_model):
    every = linears(any_model)
    assert every and "lm_head" not in every
    assert isinstance(any_model.lm_head, nn.Linear)
    wanted = {n for n, m in any_model.named_modules() if isinstance(m, nn.Linear) or type(m).__name__ == "Conv1D"}
    assert set(every) == wanted - {"lm_head"}


@pytest.mark.parametrize(
    ("targets", "error", "message"),
    [
        ("q_pro", UnknownName, "No linear of this model is called 'q_pro'. Did you mean 'q_proj'"),
        (["q_proj", "w_proj"], UnknownName, "No linear of this model is called 'w_proj'. Did you mean"),
        (["proj"], UnknownName, "called 'proj'"),  # an ending is a whole name, not a part of one
        ("(q_proj", Invalid, r"'\(q_proj' is not a regular expression"),
    ],
)
def test_linears_that_are_not_there(llama, targets, error, message):
    with pytest.raises(error, match=message):
        linears(llama, targets)


def test_shape_and_weight_see_through_the_transposed_conv1d(gpt2):
    module = gpt2.transformer.h[0].attn.c_attn
    assert shape(module) == (96, 32) and weight(module).shape == (96, 32)
    x = torch.randn(5, 32)
    torch.testing.assert_close(x @ weight(module).T + module.bias, module(x))
    assert not weight(module).requires_grad


def test_what_was_learnt_has_to_be_of_these_layers(any_model, experts):
    banks = attach(any_model, experts(any_model, 2), TaskTable())
    learnt = {key: value.clone() for key, value in banks.router_state().items()}
    banks.load_router_state(learnt)
    first = next(iter(learnt))
    with pytest.raises(Invalid, match="is of layer elsewhere"):
        banks.load_router_state({**learnt, f"elsewhere|{first.rpartition('|')[2]}": learnt[first]})
    with pytest.raises(Invalid, match=f"of layer {re.escape(first.rpartition('|')[0])}"):
        banks.load_router_state({key: value for key, value in learnt.items() if key != first})


@torch.no_grad()
def test_experts_left_out_for_a_while(llama, experts):
    ids, given = tokens(), experts(llama, 3, size=SMALL)
    want = logits(merged(llama, given, [1 / 3, 0, 1 / 3]), ids)
    banks = attach(llama, given, Uniform())
    whole = logits(llama, ids)
    with banks.ablated(["b"]):
        close(logits(llama, ids), want)
        with banks.ablated([]):
            close(logits(llama, ids), whole)
        close(logits(llama, ids), want)
    assert torch.equal(logits(llama, ids), whole)
    with pytest.raises(UnknownName, match="expert of this bank"), banks.ablated(["d"]):
        pass


class Placed(Uniform):
    """Stores its place."""

    def place(self, layer, layers):
        self.layer, self.layers = layer, layers


def test_routers_get_their_place_in_the_order_of_the_model(llama, experts):
    (expert,) = experts(llama, 1, targets=["gate_proj", "down_proj", "up_proj"])
    turned = Expert(expert.name, dict(reversed(expert.factors.items())), expert.card)
    banks = attach(llama, [turned], Placed())
    ordered = [name for name in linears(llama_again(banks)) if ".mlp." in name]
    for _ in range(2):
        for name, layer in banks.layers.items():
            assert layer.router.layer == name and layer.router.layers == ordered
        banks.route(Placed())


def llama_again(banks):
    model = copy.deepcopy(banks.model)
    for name, layer in [(n, m) for n, m in model.named_modules() if isinstance(m, ExpertLinear)]:
        model.set_submodule(name, layer.base)
    return model


def test_one_decision_a_block_is_saved_once_and_comes_back(llama, experts):
    given, ids = experts(llama, 3, targets=["gate_proj", "up_proj", "down_proj"]), tokens()
    banks = attach(llama, given, Softmax(scope="ffn"))
    for parameter in banks.parameters().values():
        torch.nn.init.normal_(parameter)
    for expert_bank in banks.values():
        expert_bank.requires_grad_(False)
    learnt, want = {k: v.clone() for k, v in banks.router_state().items()}, logits(llama, ids)
    given = banks.experts()
    assert len(learnt) == 2 and all("gate_proj" in key for key in learnt)
    banks.detach()
    again = attach(llama, given, Softmax(scope="ffn"))
    again.load_router_state(learnt)
    close(logits(llama, ids), want)
    again.detach()
    other = attach(llama, given, Softmax())
    with pytest.raises(Invalid, match="lacks row_EI of layer"):
        other.load_router_state(learnt)


@each("bias", [True, False])
def test_of_a_packed_linear_the_weight_is_what_it_computes_with(bias):
    bnb = pytest.importorskip("bitsandbytes", reason="bitsandbytes comes with yosegi-lora[quant] and yosegi-lora[dev]")
    whole = nn.Linear(64, 48, bias=bias)
    packed = bnb.nn.Linear4bit(64, 48, bias=bias, quant_type="nf4", compute_dtype=torch.float32)
    packed.load_state_dict(whole.state_dict())
    packed = packed.to("cpu")
    assert packed.weight.dtype == torch.uint8
    expected = bnb.functional.dequantize_4bit(packed.weight.data, packed.weight.quant_state)
    torch.testing.assert_close(weight(packed), expected, atol=1e-6, rtol=1e-6)
    assert 0.01 < (expected - whole.weight).norm() / whole.weight.norm() < 0.2
