"""What a fused kernel is given lies in memory as the parameter does, with the same numbers in the same places."""

import torch
from torch import nn

from yosegi.optimizers._align import align


def test_gradients_and_moments_lie_as_their_parameter_does():
    turned, straight = nn.Parameter(torch.randn(4, 3).mT), nn.Parameter(torch.randn(3, 4))
    optimizer = torch.optim.AdamW([turned, straight], lr=0.1)
    for p in (turned, straight):
        p.grad = torch.randn(3, 4)
    moment, step = torch.randn(3, 4), torch.tensor(1.0)
    optimizer.state[turned] = {"exp_avg": moment, "step": step}
    grad = turned.grad.clone()
    kept = straight.grad
    align(optimizer)
    assert turned.grad.stride() == turned.stride() and torch.equal(turned.grad, grad)
    found = optimizer.state[turned]
    assert found["exp_avg"].stride() == turned.stride() and torch.equal(found["exp_avg"], moment)
    assert found["step"] is step and straight.grad is kept, "what lies right is not copied"
