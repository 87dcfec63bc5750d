"""Yes, tight or no; and what would help."""

import json

import pytest

from tests.conftest import each
from yosegi.estimate.machines import published
from yosegi.estimate.memory import Job, Memory
from yosegi.estimate.predict import judge, needed
from yosegi.estimate.shapes import preset

GPU = {"bf16": True, "device": "cuda", "length": 1024, "batch": 1}


def test_the_three_a6000_of_the_worked_example():
    """13 B in fp32 is 48 GB before the first token; in bf16 it fits; in four bits there is room."""
    shape, gpus = preset("13b"), published("a6000", count=3)
    moe = {"method": "loramoe", "experts": 8, "rank": 4, "targets": "ffn"} | GPU
    assert judge(shape, Job(**moe, dtype="fp32"), gpus)["fits"] == "no"
    assert judge(shape, Job(**moe, dtype="bf16"), gpus)["fits"] == "yes"
    four = judge(shape, Job(**moe, dtype="4bit"), gpus)
    assert four["fits"] == "yes" and four["memory"]["weights"] < 9 * 2**30
    assert judge(shape, Job("full", **GPU, dtype="bf16"), gpus)["fits"] == "no"
    assert json.dumps(four)


def test_what_does_not_fit_is_told_what_would():
    found = judge(preset("13b"), Job("lora", dtype="fp32", **GPU | {"batch": 16}), published("48GB"))
    assert found["fits"] == "no" and found["pace"] is None
    (advice,) = found["instead"]
    assert "--dtype bf16" in advice and "--activation-checkpointing" in advice
    assert judge(preset("70b"), Job("full", dtype="bf16", **GPU), published("24GB"))["instead"] == []


def test_advice_is_true():
    shape, gpu = preset("7b"), published("a6000")
    job = Job("lora", dtype="bf16", **GPU | {"batch": 8})
    found = judge(shape, job, gpu)
    assert found["fits"] == "no" and "--activation-checkpointing" in found["instead"]
    better = Job(**{**vars(job), "checkpointing": True})
    assert judge(shape, better, gpu)["fits"] == "yes"


def test_between_yes_and_no_it_is_tight():
    shape, job = preset("7b"), Job("lora", dtype="bf16", **GPU | {"batch": 4})
    taken = judge(shape, job, published("80GB"))["needed"] / 2**30
    assert judge(shape, job, published(f"{taken + 0.1:.2f}GB"))["fits"] == "tight"
    assert judge(shape, job, published(f"{taken - 0.1:.2f}GB"))["fits"] == "no"
    assert needed(Memory(0, 0, 0, 0, 0), "cuda") == 2**30


@each("said", [{"tokens": 1e6}, {"steps": 1000}])
def test_how_long_it_takes(said):
    job = Job("lora", dtype="bf16", **GPU)
    found = judge(preset("7b"), job, published("a100-80gb", count=2), **said)
    total = said.get("tokens") or 1000 * 1024 * 2
    assert found["hours"]["estimate"] == pytest.approx(total / found["pace"]["tokens_per_s"] / 3600)
    assert found["hours"]["low"] < found["hours"]["estimate"] < found["hours"]["high"]
