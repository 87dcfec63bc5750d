"""The optimiser of many learners: clipped one by one, and the schedules of transformers."""

import pytest
import torch
from torch import nn

from yosegi.training.settings import Settings
from yosegi.training.update import _clip, rates


@pytest.mark.parametrize("kind", ["linear", "cosine", "constant", "constant_with_warmup"])
def test_rates_are_those_of_transformers(kind):
    from transformers import get_scheduler

    settings = Settings(lr_scheduler_type=kind, warmup_share=0.2)
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.5)
    schedule = get_scheduler(kind, optimizer, 4, 20)
    share = rates(settings, 20)
    for step in range(20):
        assert optimizer.param_groups[0]["lr"] == pytest.approx(0.5 * share(step))
        optimizer.step()
        schedule.step()


def test_each_learner_is_clipped_by_its_own_norm():
    torch.manual_seed(0)
    grads = [torch.randn(3, 4, 5), torch.randn(3, 6)]
    grads[0][1] *= 100
    want = [g.clone() for g in grads]
    norms = _clip(grads, 3, 2.0)
    for g in range(3):
        parameters = [nn.Parameter(torch.zeros_like(w[g])) for w in want]
        for parameter, w in zip(parameters, want, strict=True):
            parameter.grad = w[g].clone()
        assert norms[g] == pytest.approx(nn.utils.clip_grad_norm_(parameters, 2.0).item(), rel=1e-5)
        for grad, parameter in zip(grads, parameters, strict=True):
            torch.testing.assert_close(grad[g], parameter.grad)


def test_a_gradient_that_is_not_finite_becomes_zero_and_no_neighbour_feels_it():
    grads = [torch.ones(2, 3), torch.ones(2, 2, 2)]
    grads[1][0, 0, 0] = float("nan")
    norms = _clip(grads, 2, 100.0)
    assert norms[0].isnan() and norms[1] == pytest.approx(7**0.5)
    assert all((g[0] == 0).all() and (g[1] == 1).all() for g in grads)
