"""Every router of the drawer keeps the contract of `core/router.py`, whatever its method."""

import copy
import inspect

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from yosegi import registry
from yosegi.core.bank import Bank
from yosegi.core.context import Context
from yosegi.core.expert import Factors
from yosegi.core.layer import ExpertLinear
from yosegi.core.router import Router
from yosegi.errors import Invalid

ROUTERS = registry.names("routers")
B, T, I, O, E, F = 3, 5, 12, 8, 4, 6
TASKS = [("x",), ("y",), ("x", "z"), ("z",)]


def test_the_drawer_was_walked():
    assert len(ROUTERS) >= 9
    assert {registry.find("routers", name).learns for name in ROUTERS} >= {None, "inputs", "prompts", "gates"}


def make_bank(absent=()):
    given = [None if e in absent else Factors(torch.randn(2, I), torch.randn(O, 2), 0.5) for e in range(E)]
    return Bank("abcd", TASKS, given, (O, I))


def knowing():
    """A context that has heard everything a router may know."""
    features = nn.functional.normalize(torch.randn(B, F, generator=torch.Generator().manual_seed(7)), dim=-1)
    return Context(
        torch.tensor([0, 2, 1]), torch.tensor([3, -1, 0]), torch.ones(B, T), weights={}, features_BF=features
    )


ALONE = ("inputs", "prompts", "gates")
"""Ways to learn beside experts that are finished (training/routers.py): until then, such a router has nothing to say."""


def teach(router, bank):
    """Let a router learn something from random data, as training/routers.py would from real data."""
    E = len(bank.names)
    if router.learns == "inputs":
        router.fit(torch.randn(E, I))
    if router.learns == "prompts":
        few = {"steps": 20} if "steps" in inspect.signature(router.fit).parameters else {}
        router.fit(torch.randn(12, F), [bank.tasks[n % len(bank.tasks)] for n in range(12)], **few)
    if router.learns == "gates":
        router.begin().data.normal_()
        router.end()
    return router


def bound(make, bank):
    """A router that has looked at the experts, and learnt if it has to."""
    router = make()
    router.bind(bank)
    return teach(router, bank)


def layer_of(make, bank=None):
    bank = bank or make_bank()
    layer = ExpertLinear(nn.Linear(I, O), bank, make(), context=knowing())
    teach(layer.router, bank)
    return layer


@pytest.fixture(params=ROUTERS)
def make(request):
    return registry.find("routers", request.param)


def test_it_is_a_router_made_of_hyper_parameters_alone(make):
    assert issubclass(make, Router)
    kinds = {p.kind for p in inspect.signature(make.__init__).parameters.values()}
    assert not kinds & {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    router = make()
    again = make(**router.config())
    assert again.config() == router.config()
    assert not list(router.parameters())  # what depends on the experts comes with `bind`


def test_the_weights_broadcast_and_are_finite(make):
    router = bound(make, make_bank())
    x = torch.randn(B, T, I)
    w = router(x, knowing())
    assert w.shape[-1] == E
    assert torch.broadcast_shapes(w.shape[:-2], (B, T)) == (B, T)
    assert w.isfinite().all() and w.any()


def test_attaching_again_is_safe(make):
    bank, x = make_bank(), torch.randn(B, T, I)
    torch.manual_seed(1)
    router = bound(make, bank).eval()  # some draw their weights in training
    once = router(x, knowing())
    router.bind(bank)
    assert torch.equal(router(x, knowing()), once)  # the second time, nothing learnt is forgotten


def test_attaching_follows_the_bank(make):
    router, x = bound(make, make_bank()), torch.randn(B, T, I)
    fewer = Bank("ab", TASKS[:2], [Factors(torch.randn(2, I), torch.randn(O, 2))] * 2, (O, I))
    router.bind(fewer)
    context = Context(torch.tensor([0, 1, 1]), torch.tensor([1, -1, 0]), features_BF=torch.randn(B, F))
    if router.learns in ALONE:  # what it learnt beside other experts is nothing beside these
        with pytest.raises(Invalid, match="is not trained: yosegi train-router"):
            router(x, context)
    assert teach(router, fewer)(x, context).shape[-1] == 2


def test_one_that_has_learnt_nothing_says_so(make):
    router = make()
    router.bind(make_bank())
    if router.learns not in ALONE:
        assert router(torch.randn(B, T, I), knowing()).isfinite().all()
        return
    with pytest.raises(Invalid, match="is not trained: yosegi train-router") as raised:
        router(torch.randn(B, T, I), knowing())
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", [name for name in ROUTERS if registry.find("routers", name).learns in ALONE])
def test_what_was_learnt_beside_other_experts_is_refused(name):
    make = registry.find("routers", name)
    state = bound(make, make_bank()).state_dict()
    other = make()
    other.bind(Bank("ab", TASKS[:2], [Factors(torch.randn(2, I), torch.randn(O, 2))] * 2, (O, I)))
    with pytest.raises(RuntimeError, match="learnt"):
        other.load_state_dict(state)


def test_the_same_seed_gives_the_same_weights(make):
    bank, x, result = make_bank(), torch.randn(B, T, I), []
    for _ in range(2):
        torch.manual_seed(3)
        router = bound(make, bank)
        result.append(router(x, knowing()))
    assert torch.equal(*result)


def test_the_bank_is_only_looked_at(make):
    bank = make_bank()
    before = {name: tensor.clone() for name, tensor in bank.state_dict().items()}
    router = bound(make, bank)
    router(torch.randn(B, T, I), knowing())
    assert all(torch.equal(tensor, before[name]) for name, tensor in bank.state_dict().items())
    assert not any(parameter is ours for ours in router.parameters() for parameter in bank.parameters())


def test_an_absent_expert_never_changes_the_answer(make):
    layer = layer_of(make, make_bank(absent=(1, 2))).eval()
    x = torch.randn(B, T, I)
    y = layer(x)
    assert y.isfinite().all()
    w = layer.router(x, knowing()).expand(B, T, 1, E)[..., 0, :]
    want = layer.base(x) + sum(w[..., e, None] * (x @ layer.bank.factors(e).dense().T) for e in (0, 3))
    torch.testing.assert_close(y, want, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_precisions(make, dtype):
    layer = layer_of(make).to(dtype)
    y = layer(torch.randn(B, T, I, dtype=dtype))
    assert y.dtype == dtype and y.isfinite().all()
    assert layer.context.weights[""].isfinite().all()


def test_autocast(make):
    layer = layer_of(make)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(torch.randn(B, T, I)).isfinite().all()


def test_checkpointing_gives_the_same_gradients(make):
    torch.manual_seed(2)
    layer, x = layer_of(make), torch.randn(B, T, I)
    result = []
    for run in (lambda: layer(x), lambda: checkpoint(layer, x, use_reentrant=False)):
        layer.zero_grad()
        torch.manual_seed(4)
        run().square().sum().backward()
        result.append({name: p.grad.clone() for name, p in layer.named_parameters() if p.grad is not None})
    assert "bank.A_ERI" in result[0] and len(layer.context.weights) == 1
    assert result[0].keys() == result[1].keys()
    assert all(torch.equal(result[0][name], result[1][name]) for name in result[0])


def test_it_saves_and_reloads(make):
    torch.manual_seed(5)
    layer = layer_of(make)
    with torch.no_grad():
        for parameter in layer.router.parameters():
            parameter.add_(torch.randn_like(parameter))
    again = ExpertLinear(copy.deepcopy(layer.base), make_bank(), make(), context=knowing())
    again.load_state_dict(layer.state_dict())
    again.router.bind(again.bank)
    x = torch.randn(B, T, I)
    layer.eval(), again.eval()
    assert torch.equal(again(x), layer(x))
