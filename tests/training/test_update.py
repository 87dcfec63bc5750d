"""The optimiser of many learners: clipped one by one, and the schedules of transformers."""

from typing import get_args

import pytest
import torch
from torch import nn

from yosegi.errors import Invalid, UnknownName
from yosegi.training.settings import Schedule, Settings
from yosegi.training.update import Part, Update, clip, make_optimizer, schedule

ARGUMENTS = {
    "cosine_with_restarts": {"num_cycles": 2},
    "polynomial": {"power": 2.0, "lr_end": 0.1},
    "cosine_with_min_lr": {"min_lr": 0.05},
    "cosine_warmup_with_min_lr": {"min_lr_rate": 0.1},
    "warmup_stable_decay": {"num_decay_steps": 5},
}


@pytest.mark.parametrize("kind", get_args(Schedule))
def test_schedules_are_those_of_transformers(kind):
    from transformers import get_scheduler

    arguments = ARGUMENTS.get(kind, {})
    settings = Settings(lr_scheduler_type=kind, lr_scheduler_kwargs=arguments, warmup_share=0.17)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.5)
    theirs = get_scheduler(kind, optimizer, 4, 20, dict(arguments))  # 3.4 steps of warm-up are four
    share = schedule(settings, 0.5, 20)
    for step in range(20):
        assert optimizer.param_groups[0]["lr"] == pytest.approx(0.5 * share(step))
        optimizer.step()
        theirs.step()


def test_a_schedule_or_an_optimizer_that_cannot_be_is_named():
    with pytest.raises(Invalid, match="lr_scheduler_kwargs of linear"):
        schedule(Settings(lr_scheduler_kwargs={"num_cycles": 2}), 0.1, 9)
    group = [{"params": [nn.Parameter(torch.zeros(2, 2))]}]
    with pytest.raises(UnknownName, match="Did you mean 'adamw_8bit'"):
        make_optimizer(group, Settings(optimizer="adamw_8bits"))
    with pytest.raises(Invalid, match="stable_adamw cannot be had"):
        make_optimizer(group, Settings(optimizer="stable_adamw"))
    with pytest.raises(UnknownName, match="No argument of galore is called 'gap'"):
        make_optimizer(group, Settings(optimizer="galore", optimizer_args={"gap": 3}))


@pytest.mark.parametrize("name", ["adamw", "adamw_8bit", "paged_adamw_8bit", "lion_8bit", "adafactor", "sgd", "rmsprop", "torch.optim:Adagrad"])  # fmt: skip
@pytest.mark.parametrize("masked", [False, True])
def test_every_optimizer_moves_its_own_entries_of_every_learner(name, masked):
    """Also those that would replace a parameter by a copy: B is a transposed view, and learners of two lengths are slices."""
    if "bit" in name:
        pytest.importorskip("bitsandbytes", reason="bitsandbytes comes with yosegi-lora[quant] and yosegi-lora[dev]")
    torch.manual_seed(0)
    parameters = {"A": nn.Parameter(torch.randn(3, 70, 80)), "B": nn.Parameter(torch.randn(3, 70, 90).mT)}
    before = {key: p.detach().clone() for key, p in parameters.items()}
    places = {key: p.data_ptr() for key, p in parameters.items()}
    masks = {key: torch.rand(p.shape) < 0.4 for key, p in parameters.items()} if masked else {}
    parts = [Part(parameters, 0.01, 5, (0, 2)), Part(parameters, 0.02, 1, (2, 3))]
    update = Update(parts, ["a", "b", "c"], Settings(optimizer=name, warmup_share=0), masks)
    for step in range(2):
        for p in parameters.values():
            p.grad = torch.randn(p.shape)
        update.step(step, [0, 1, 2][: 3 - step], torch.zeros(3))
        if not step:
            first = {key: p.detach().clone() for key, p in parameters.items()}
    for key, p in parameters.items():
        still = ~masks[key] if masked else torch.zeros(p.shape, dtype=torch.bool)
        assert p.data_ptr() == places[key] and torch.equal(p[still], before[key][still])
        assert torch.equal(p[2], first[key][2]), "its training was over after one step"
        assert ((p - before[key]).abs()[~still] > 0).float().mean() > 0.95
    costs = update.count().costs
    if masked:
        assert costs["a"]["trainable_params"] == sum(int(mask[0].sum()) for mask in masks.values())
    else:
        assert costs["a"]["trainable_params"] == 70 * 80 + 70 * 90
    if "8bit" in name and "adamw" in name and not masked:
        assert costs["a"]["optimizer_bytes"] < 3 * costs["a"]["trainable_params"], "two bytes a number, and scales"


def test_a_gradient_is_clipped_over_the_entries_that_are_trained():
    """As in LoRA-PAR's code, whose hooks mask gradients before the norm is taken."""
    p = nn.Parameter(torch.zeros(4))
    settings = Settings(optimizer="torch.optim:SGD", learning_rate=1.0, lr_scheduler_type="constant", max_grad_norm=1.0)
    update = Update([Part({"p": p}, 1.0, 1)], ["a"], settings, {"p": torch.tensor([True, True, False, False])})
    p.grad = torch.tensor([3.0, 4.0, 100.0, 100.0])
    assert update.step(0, [0], torch.zeros(1))[0]["grad_norm"] == pytest.approx(5)
    torch.testing.assert_close(p.detach(), torch.tensor([-0.6, -0.8, 0, 0]), atol=1e-5, rtol=0)


def test_each_learner_is_clipped_by_its_own_norm():
    torch.manual_seed(0)
    grads = [torch.randn(3, 4, 5), torch.randn(3, 6)]
    grads[0][1] *= 100
    want = [g.clone() for g in grads]
    norms = clip(grads, 3, 2.0)
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
    norms = clip(grads, 2, 100.0)
    assert norms[0].isnan() and norms[1] == pytest.approx(7**0.5)
    assert all((g[0] == 0).all() and (g[1] == 1).all() for g in grads)
