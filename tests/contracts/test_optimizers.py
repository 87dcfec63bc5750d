"""Every optimizer of the drawer: a torch optimizer whose state survives saving and resuming, bit for bit."""

import pytest
import torch
from safetensors.torch import load, save
from torch import nn

from yosegi import registry

OPTIMIZERS = registry.names("optimizers")


def test_the_drawer_was_walked():
    assert len(OPTIMIZERS) >= 2


@pytest.fixture(params=OPTIMIZERS)
def make(request):
    """make(parameters, lr=…): what is no matrix is in a group that says so, which an optimizer for all shapes may ignore."""
    optimizer = registry.find("optimizers", request.param)

    def grouped(ps, **how):
        ps = list(ps)
        vectors = {"params": [p for p in ps if p.ndim < 2], "rank": None}
        return optimizer([{"params": [p for p in ps if p.ndim >= 2]}, vectors], **how)

    return grouped


def parameters():
    """A plain matrix, a stack that is a transposed view as a bank's B is, and a vector."""
    torch.manual_seed(0)
    return [nn.Parameter(torch.randn(6, 8)), nn.Parameter(torch.randn(3, 4, 8).mT), nn.Parameter(torch.randn(8))]


def step(optimizer, ps, t):
    generator = torch.Generator().manual_seed(t)
    optimizer.zero_grad()
    sum((p * torch.randn(p.shape, generator=generator)).sum() for p in ps).backward()
    optimizer.step()


def through_safetensors(state):
    """As training/checkpoint.py keeps it: one contiguous tensor a value."""
    tensors = {
        f"{index}.{key}": torch.as_tensor(value).contiguous()
        for index, memory in state["state"].items()
        for key, value in memory.items()
    }
    memory = {}
    for name, tensor in load(save(tensors)).items():
        index, _, key = name.partition(".")
        memory.setdefault(int(index), {})[key] = tensor
    return {"state": memory, "param_groups": state["param_groups"]}


def test_it_is_torchs_and_moves_every_parameter(make):
    ps = parameters()
    before = [p.detach().clone() for p in ps]
    optimizer = make(iter(ps), lr=0.05)
    assert isinstance(optimizer, torch.optim.Optimizer)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(ps)
    step(optimizer, ps, 0)
    assert all(not torch.equal(p, b) and p.isfinite().all() for p, b in zip(ps, before, strict=True))


@pytest.mark.parametrize("at", [1, 4])
def test_a_resumed_training_ends_with_the_same_bits(make, at):
    straight, resumed = parameters(), parameters()
    optimizer, again = make(straight, lr=0.05), make(resumed, lr=0.05)
    for t in range(8):
        if t == at:
            state = through_safetensors(again.state_dict())
            again = make(resumed, lr=0.05)
            again.load_state_dict(state)
        step(optimizer, straight, t)
        step(again, resumed, t)
    assert all(torch.equal(p, q) for p, q in zip(straight, resumed, strict=True))


def test_a_zero_learning_rate_changes_nothing(make):
    ps = parameters()
    before = [p.detach().clone() for p in ps]
    step(make(ps, lr=0.0), ps, 0)
    assert all(torch.equal(p, b) for p, b in zip(ps, before, strict=True))


def test_it_goes_downhill(make):
    ps = parameters()
    optimizer, losses = make(ps, lr=0.05), []
    for _ in range(400):
        optimizer.zero_grad()
        loss = sum((p - 1).square().sum() for p in ps)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 10
