"""bf16 by a rule: where it is asked for, where the base is held in it, and on GPUs that have it."""

from types import SimpleNamespace

import pytest
import torch

from tests.training.conftest import tiny_base
from yosegi.training.precision import wants_bf16


def test_what_is_asked_for_is_done():
    base = tiny_base()
    assert wants_bf16(base, "bf16") and not wants_bf16(base, "fp32")


@pytest.mark.parametrize(
    ("dtype", "device", "gpu", "expected"),
    [
        ("fp32", "cpu", True, False),
        ("bf16", "cpu", False, True),
        ("4bit", "cpu", False, False),
        ("fp32", "cuda", True, True),
        ("fp32", "cuda", False, False),
    ],
)
def test_auto(monkeypatch, dtype, device, gpu, expected):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: gpu)
    base = SimpleNamespace(model=SimpleNamespace(device=torch.device(device)), dtype=dtype)
    assert wants_bf16(base, "auto") is expected  # type: ignore[arg-type]
