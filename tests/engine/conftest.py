"""The embedded base, and two experts that really say something."""

import pytest
import torch

from yosegi.bases import Base, load
from yosegi.core.expert import Expert, Factors
from yosegi.inits import fresh


@pytest.fixture(scope="session")
def nano() -> Base:
    return load("nano", device="cpu")


@pytest.fixture
def pair(nano) -> list[Expert]:
    """Two random experts of different rank; the first learnt skills/add, the second skills/reverse."""
    found = []
    for name, task, rank in (("adder", "skills/add", 2), ("turner", "skills/reverse", 4)):
        expert = fresh(nano.model, name, rank=rank, alpha=rank, task=task)
        factors = {k: Factors(f.A_RI, torch.randn_like(f.B_OR) * 0.1, f.scale) for k, f in expert.factors.items()}
        found.append(Expert(name, factors, {"task": [task], "base_hash": nano.hash}))
    return found
