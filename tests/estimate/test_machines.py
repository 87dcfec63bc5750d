"""GPUs by their names, and this machine by what it does."""

import pytest

from tests.conftest import each
from yosegi.errors import UnknownName
from yosegi.estimate.machines import PUBLISHED, here, published
from yosegi.estimate.predict import EstimateSettings, predict
from yosegi.estimate.shapes import preset


@each("name", ["a6000", "A6000", "RTX A6000", "NVIDIA RTX A6000", "rtx_a6000"])
def test_a_gpu_has_several_names(name):
    found = published(name.replace("NVIDIA RTX", "RTX"), count=3)
    assert (found.name, found.memory, found.count) == ("a6000", 48 * 2**30, 3)
    assert found.flops == 154.8e12 and found.bandwidth == 768e9


def test_every_published_gpu_is_faster_in_bf16_and_none_is_sparse():
    assert len(PUBLISHED) >= 15
    for name, (memory, half, single, bandwidth) in PUBLISHED.items():
        assert 16 <= memory <= 192 and 1.5 < half / single < 40 and 300 <= bandwidth <= 8000
        assert published(name, bf16=False).flops == single * 1e12
        assert half < 2500, "twice as much is said of sparse matrices"


def test_of_a_size_alone_nothing_else_is_known():
    found = published("48GB")
    assert (found.memory, found.flops, found.bandwidth) == (48 * 2**30, 0, 0)
    plan = predict(preset("60m"), EstimateSettings(gpu="48GB", tflops=100, bandwidth=500))
    assert (plan["machine"]["flops"], plan["machine"]["bandwidth"]) == (1e14, 5e11) and plan["pace"]
    assert predict(preset("60m"), EstimateSettings(gpu="48GB"))["pace"] is None
    with pytest.raises(ValueError, match="greater than 0"):
        EstimateSettings(tflops=-1)
    with pytest.raises(UnknownName, match="Did you mean 'a6000'"):
        published("a600")


def test_this_machine_is_measured():
    found = here(width=256, rows=256, seconds=0.1)
    assert found.measured and found.memory > 2**28
    assert 1e8 < found.flops < 1e15 and 1e7 < found.bandwidth < 1e13
