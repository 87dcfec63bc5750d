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
    checkpoint.save_state(tmp_path, {"p": parameter}, optimizer, {"_last_lr": [0.05], "last_epoch": 3}, {"name": "x"})
    expected = torch.rand(2), np.random.rand(2).tolist(), random.random()

    other = nn.Parameter(torch.zeros(3, 4))
    again = torch.optim.AdamW([other], lr=0.1)
    checkpoint.load_parameters(tmp_path, {"p": other})
    schedule = checkpoint.load_optimizer(tmp_path, again)
    checkpoint.load_rng(tmp_path)
    assert torch.equal(other, parameter) and schedule == {"_last_lr": [0.05], "last_epoch": 3}
    assert again.param_groups[0]["lr"] == 0.05
    for key, value in optimizer.state[parameter].items():
        assert torch.equal(again.state[other][key], value)
    assert torch.equal(torch.rand(2), expected[0])
    assert (np.random.rand(2).tolist(), random.random()) == expected[1:]


def test_another_training_and_a_torn_file_are_named(tmp_path):
    parameter = nn.Parameter(torch.zeros(2))
    checkpoint.save_state(
        tmp_path, {"p": parameter}, torch.optim.SGD([parameter], lr=1.0), {}, {"name": "x", "rank": 4}
    )
    checkpoint.check(tmp_path, {"name": "x", "rank": 4})
    with pytest.raises(Invalid, match="rank was 4, is 8"):
        checkpoint.check(tmp_path, {"name": "x", "rank": 8})
    file = tmp_path / "state.safetensors"
    file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(Corrupt, match="state.safetensors"):
        checkpoint.load_parameters(tmp_path, {"p": parameter})
