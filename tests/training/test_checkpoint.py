"""What is saved comes back to the bit."""

import random

import numpy as np
import pytest
import torch
from torch import nn

from yosegi.errors import Corrupt, Invalid
from yosegi.training import checkpoint


def test_round_trip(tmp_path):
    parameter = nn.Parameter(torch.randn(3, 4))
    optimizer = torch.optim.AdamW([parameter], lr=0.1)
    for _ in range(3):
        (parameter**2).sum().backward()
        optimizer.step()
    optimizer.param_groups[0]["lr"] = 0.05
    checkpoint.save(tmp_path / "c", {"p": parameter}, optimizer, {"name": "x"}, {"step": 3})
    expected = torch.rand(2), np.random.rand(2).tolist(), random.random()

    other = nn.Parameter(torch.zeros(3, 4))
    again = torch.optim.AdamW([other], lr=0.1)
    checkpoint.load_parameters(tmp_path / "c", {"p": other})
    assert checkpoint.load_rest(tmp_path / "c", again) == {"step": 3}
    assert torch.equal(other, parameter) and checkpoint.read(tmp_path / "c") == ({"name": "x"}, {"step": 3})
    assert checkpoint.read(tmp_path / "none") == ({}, {})
    assert again.param_groups[0]["lr"] == 0.05
    for key, value in optimizer.state[parameter].items():
        assert torch.equal(again.state[other][key], value)
    assert torch.equal(torch.rand(2), expected[0])
    assert (np.random.rand(2).tolist(), random.random()) == expected[1:]


def test_another_training_and_a_torn_file_are_named(tmp_path):
    parameter = nn.Parameter(torch.zeros(2))
    folder, optimizer = tmp_path / "c", torch.optim.SGD([parameter], lr=1.0)
    checkpoint.save(folder, {"p": parameter}, optimizer, {"name": "x", "rank": (4,)}, {})
    checkpoint.check(folder, {"name": "x", "rank": (4,)})
    with pytest.raises(Invalid, match=r"rank was \[4\], is 8"):
        checkpoint.check(folder, {"name": "x", "rank": 8})
    file = folder / "state.safetensors"
    file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(Corrupt, match="state.safetensors"):
        checkpoint.load_parameters(folder, {"p": parameter})
