"""Plain LoRA moves everything, and pays nothing for it."""

import torch
from torch import nn

from yosegi.masks.everything import everything


def test_no_mask_at_all():
    assert everything({"A": nn.Parameter(torch.ones(2, 3))}) is None
