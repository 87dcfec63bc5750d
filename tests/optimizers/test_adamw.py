"""AdamW against its own formula, and against memory that lies in another order."""

import torch
from safetensors.torch import load, save
from torch import nn

from tests.conftest import each
from yosegi.core.bank import Bank
from yosegi.core.expert import Factors
from yosegi.optimizers.adamw import adamw

STEPS = 8
HYPER = {"lr": 0.05, "weight_decay": 0.1, "betas": (0.8, 0.95), "eps": 1e-6}


def bank(experts):
    given = [Factors(torch.randn(3, 6), torch.randn(5, 3)) for _ in range(experts)]
    return Bank([str(e) for e in range(experts)], [()] * experts, given, (5, 6))


def gradients(parameters):
    generator = torch.Generator().manual_seed(1)
    return [[torch.randn(p.shape, generator=generator) for p in parameters] for _ in range(STEPS)]


def step(optimizer, parameters, gradient):
    """Through autograd, as a training does."""
    optimizer.zero_grad()
    sum((p * g).sum() for p, g in zip(parameters, gradient, strict=True)).backward()
    optimizer.step()


@each("experts", [1, 4])
def test_is_the_formula(experts):
    parameters = list(bank(experts).parameters())
    want = [p.detach().double() for p in parameters]
    m, v = ([torch.zeros_like(p) for p in want] for _ in range(2))
    optimizer = adamw(parameters, **HYPER)
    (b1, b2), lr = HYPER["betas"], HYPER["lr"]
    for t, gradient in enumerate(gradients(parameters), 1):
        step(optimizer, parameters, gradient)
        for i, g in enumerate(gradient):
            want[i] = want[i] * (1 - lr * HYPER["weight_decay"])
            m[i] = b1 * m[i] + (1 - b1) * g
            v[i] = b2 * v[i] + (1 - b2) * g * g
            want[i] = want[i] - lr * (m[i] / (1 - b1**t)) / ((v[i] / (1 - b2**t)).sqrt() + HYPER["eps"])
    for got, value in zip(parameters, want, strict=True):
        torch.testing.assert_close(got.double(), value, atol=1e-5, rtol=0)


def test_is_torchs():
    torch.manual_seed(0)
    ours = list(bank(3).parameters())
    theirs = [nn.Parameter(p.detach().clone()) for p in ours]
    optimizers = adamw(ours, **HYPER), torch.optim.AdamW(theirs, **HYPER)
    for gradient in gradients(ours):
        for optimizer, parameters in zip(optimizers, (ours, theirs), strict=True):
            step(optimizer, parameters, gradient)
    for got, want in zip(ours, theirs, strict=True):
        torch.testing.assert_close(got, want, atol=1e-6, rtol=0)


def through_safetensors(optimizer):
    """As a checkpoint keeps it: every tensor contiguous."""
    state = optimizer.state_dict()
    tensors = {
        f"{i}.{key}": value.contiguous() for i, memory in state["state"].items() for key, value in memory.items()
    }
    memory = {}
    for name, tensor in load(save(tensors)).items():
        index, key = name.split(".")
        memory.setdefault(int(index), {})[key] = tensor
    return {"state": memory, "param_groups": state["param_groups"]}


@each("experts", [1, 4])
def test_a_resumed_training_ends_with_the_same_bits(experts):
    """B is a transposed view: moments that come back contiguous must not be given to the wrong entries."""
    parameters = list(bank(experts).parameters())
    resumed = [nn.Parameter(p.detach().clone()) for p in parameters]
    optimizer, again = adamw(parameters, **HYPER), adamw(resumed, **HYPER)
    for t, gradient in enumerate(gradients(parameters)):
        if t == STEPS // 2:
            state = through_safetensors(again)
            again = adamw(resumed, **HYPER)
            again.load_state_dict(state)
        step(optimizer, parameters, gradient)
        step(again, resumed, gradient)
    for got, want in zip(resumed, parameters, strict=True):
        assert torch.equal(got, want)


def test_a_gradient_that_lies_otherwise_in_memory():
    parameters = list(bank(3).parameters())
    assert not all(p.is_contiguous() for p in parameters)
    others = [nn.Parameter(p.detach().clone(memory_format=torch.contiguous_format)) for p in parameters]
    optimizer, other = adamw(parameters, **HYPER), adamw(others, **HYPER)
    for gradient in gradients(parameters):
        for p, q, g in zip(parameters, others, gradient, strict=True):
            p.grad, q.grad = g.clone(), g.clone()
        optimizer.step()
        other.step()
    for got, want in zip(parameters, others, strict=True):
        assert torch.equal(got, want)


def test_a_parameter_without_a_gradient_stays():
    parameters = list(bank(2).parameters())
    before = parameters[1].detach().clone()
    optimizer = adamw(parameters, **HYPER)
    parameters[0].grad = torch.ones_like(parameters[0])
    optimizer.step()
    assert torch.equal(parameters[1], before)
