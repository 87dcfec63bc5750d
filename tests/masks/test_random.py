"""The lot: exactly as many as said, the same for the same seed, over all tensors at once."""

import pytest
import torch

from tests.conftest import each
from yosegi.errors import Invalid
from yosegi.masks.random import random

ENTRIES = {"a": torch.zeros(10, 30), "b": torch.zeros(40)}


@each("share", [0.0, 0.3, 1.0])
def test_exactly_so_many(share):
    mask = random(ENTRIES, share)
    assert sum(int(m.sum()) for m in mask.values()) == int(share * 340)
    assert {name: m.shape for name, m in mask.items()} == {name: t.shape for name, t in ENTRIES.items()}


def test_the_seed_decides():
    one, again, other = (random(ENTRIES, 0.5, seed) for seed in (1, 1, 2))
    assert torch.equal(one["a"], again["a"]) and not torch.equal(one["a"], other["a"])


def test_a_share_is_a_share():
    with pytest.raises(Invalid, match="share=2"):
        random(ENTRIES, 2)
