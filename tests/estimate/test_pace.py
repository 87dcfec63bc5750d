"""Multiply-adds are those that torch counts; time grows with what it should grow with."""

import dataclasses

import pytest
from torch.utils.flop_counter import FlopCounterMode

from tests.conftest import each
from tests.estimate.conftest import config, model_of
from yosegi.errors import Invalid
from yosegi.estimate.machines import Machine, published
from yosegi.estimate.memory import Job
from yosegi.estimate.pace import flops, predict, traffic
from yosegi.estimate.shapes import of_config, preset
from yosegi.objectives.lm import lm

TINY = {"rank": 4, "batch": 4, "length": 48}


@each(
    "job",
    [Job("full", **TINY), Job("lora", **TINY), Job("loramoe", experts=5, **TINY), Job("fleet", experts=4, **TINY)],
)
def test_flops_are_those_that_torch_counts(job):
    """Within 3 %: the first block of three needs no gradient of its input. Torch does not count its fused attention on CPUs."""
    model, batch = model_of(job)
    with FlopCounterMode(display=False) as counter:
        lm(model, batch, 1).backward()
    shape = of_config("tiny", config())
    attention = job.tokens * 3.5 * 2 * job.length * shape.q * shape.layers
    assert flops(shape, job) - attention == pytest.approx(counter.get_total_flops(), rel=0.03)


def test_what_costs_more_takes_longer():
    shape, gpu = preset("7b"), published("a100-80gb")
    job = Job("lora", batch=2, length=512, dtype="bf16", bf16=True, device="cuda")

    def step(**changes):
        return predict(shape, dataclasses.replace(job, **changes), gpu).step_s

    assert step(checkpointing=True) > 1.2 * step()
    assert step(method="full") > 1.3 * step()
    assert step(dtype="4bit") > step()
    assert step(method="grpo", generations=1) > 2 * step()
    assert step(batch=4) > 1.8 * step()
    assert traffic(shape, dataclasses.replace(job, dtype="fp32")) > traffic(shape, job)


def test_loramoe_reads_a_step_that_is_cut_twice():
    shape = preset("60m")
    whole, cut = (flops(shape, Job("loramoe", experts=6, batch=b, length=1024)) / b for b in (4, 8))
    once = flops(shape, Job("loramoe", experts=6, batch=4, length=1024, device="cuda")) / 4
    assert whole == once and 1.2 < cut / whole < 1.5


def test_galore_pays_for_its_projections():
    shape = preset("1b")
    full, galore = (flops(shape, Job(m, rank=512, batch=1, length=256)) for m in ("full", "galore"))
    assert galore - full == 24 * (4 * 4 * 2048**2 * 512 + 3 * 4 * 2048 * 5461 * 512)


def test_several_gpus_share_the_work_and_tell_each_other():
    shape = preset("1b")
    one, three = (published("a6000", count=n) for n in (1, 3))
    for method, least in (("lora", 2.8), ("full", 1.5), ("fleet", 2.99)):
        job = Job(method, batch=4, length=512, dtype="bf16", bf16=True, device="cuda", experts=2)
        ratio = predict(shape, job, three).tokens_per_s / predict(shape, job, one).tokens_per_s
        assert least < ratio <= 3.0001, method


def test_it_says_how_sure_it_is_and_when_it_knows_nothing():
    shape, job = preset("60m"), Job("lora", batch=1, length=128, device="cuda")
    assert predict(shape, job, published("24GB")) is None
    guess = predict(shape, job, published("t4"))
    assert guess.low < guess.tokens_per_s < guess.high and guess.high / guess.low == pytest.approx(4)
    with pytest.raises(Invalid, match="0 devices"):
        predict(shape, job, Machine("none", 1, 1, 1, count=0))


def test_by_hand():
    """1 TFLOPS at 55 %, memory of infinite speed: 6 N FLOPs a token, and attention."""
    shape, job = preset("60m"), Job("full", embeddings=True, batch=1, length=256)
    seconds = predict(shape, job, Machine("x", 2**40, 1e12, 1e30)).step_s
    weights = 6 * (shape.linear_params + 32000 * 512)
    assert seconds == pytest.approx(256 * (weights + 3.5 * 2 * 256 * 512 * 8) / 0.55e12)
