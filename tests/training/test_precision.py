"""bf16 by a rule: where it is asked for, on GPUs that have it, on wide models beside AMX."""

from types import SimpleNamespace

import pytest
import torch

from tests.training.conftest import tiny_base
from yosegi.training.precision import wants_bf16


def test_what_is_asked_for_is_done():
    base = tiny_base()
    assert wants_bf16(base, "bf16") and not wants_bf16(base, "fp32")


@pytest.mark.parametrize(("width", "amx", "expected"), [(256, True, False), (512, True, True), (512, False, False)])
def test_auto_on_a_cpu(monkeypatch, width, amx, expected):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    config = SimpleNamespace(get_text_config=lambda: SimpleNamespace(hidden_size=width))
    model = SimpleNamespace(device=torch.device("cpu"), config=config)
    assert wants_bf16(SimpleNamespace(model=model), "auto") is expected
