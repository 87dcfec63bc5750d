"""Whole weights answer in place of the base's own, which come back bit for bit."""

import dataclasses

import pytest
import torch

from tests.training.conftest import tiny_base
from yosegi.core.expert import Expert
from yosegi.engine.arm import Arm
from yosegi.engine.spec import parse_arm
from yosegi.engine.whole import save_weights
from yosegi.errors import Corrupt, Invalid, NoData, WrongBase

NAME = "model.layers.0.mlp.up_proj.weight"


@pytest.fixture
def base():
    return tiny_base()


@torch.no_grad()
def logits(base):
    return base.model(input_ids=torch.arange(6)[None]).logits


def moved(base):
    weight = base.model.state_dict()[NAME]
    return {NAME: weight + torch.randn(weight.shape, generator=torch.Generator().manual_seed(0)) / 10}


def test_they_answer_and_the_base_comes_back(base, tmp_path):
    before, said = {name: value.clone() for name, value in base.model.state_dict().items()}, logits(base)
    weights = moved(base)
    save_weights(tmp_path / "whole", base, weights)
    arm = parse_arm(f"base{{base_delta={tmp_path / 'whole'}}}")
    assert arm.describe()["method"] == "whole weights" and arm.describe()["trainable_params"] == weights[NAME].numel()
    with arm.attached(base) as banks:
        assert banks is None and torch.equal(base.model.state_dict()[NAME], weights[NAME])
        other = logits(base)
    assert not torch.equal(other, said) and torch.equal(logits(base), said)
    assert all(torch.equal(value, before[name]) for name, value in base.model.state_dict().items())
    with pytest.raises(RuntimeError, match="on purpose"), arm.attached(base):
        raise RuntimeError("on purpose")
    assert torch.equal(logits(base), said), "whatever happens"


def test_the_measurement_is_of_these_weights(base, tmp_path):
    marks = []
    for factor in (1, 2):
        save_weights(tmp_path / "whole", base, {NAME: factor * moved(base)[NAME]})
        marks.append(parse_arm(f"base{{base_delta={tmp_path / 'whole'}}}").fingerprint())
    assert len({*marks, Arm("base").fingerprint()}) == 3


def test_what_does_not_belong_is_refused(base, tmp_path):
    arm = Arm("whole", base_delta=tmp_path / "whole")
    with pytest.raises(NoData, match="holds no weights"), arm.attached(base):
        pass
    save_weights(tmp_path / "whole", base, {"elsewhere": torch.zeros(2)})
    with pytest.raises(Invalid, match="no parameter elsewhere"), arm.attached(base):
        pass
    save_weights(tmp_path / "whole", base, moved(base))
    content = bytearray((tmp_path / "whole" / "weights.safetensors").read_bytes())
    content[-1] ^= 1
    (tmp_path / "whole" / "weights.safetensors").write_bytes(bytes(content))
    with pytest.raises(Corrupt, match="not what was written"), arm.attached(base):
        pass
    save_weights(tmp_path / "whole", base, moved(base))
    with pytest.raises(WrongBase, match="belong to"), arm.attached(dataclasses.replace(base, hash="f" * 12)):
        pass
    with (
        pytest.raises(Invalid, match="belong to the base as it is"),
        Arm("x", [Expert("e", {}, {})], base_delta=tmp_path).attached(base),
    ):
        pass
