"""Random experts for the benchmarks, and the same for the peer: as `Library.add` exports them, read by PEFT itself."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from yosegi.core.expert import Expert, Factors
from yosegi.library.store import Library


def random_expert(name: str, shapes: Mapping[str, tuple[int, int]], rank: int, scale: float = 0.5) -> Expert:
    """B is not zero, as after training. `shapes` is (O, I) by layer."""
    factors = {
        layer: Factors(torch.randn(rank, I) / I**0.5, torch.randn(O, rank) / rank**0.5, scale)
        for layer, (O, I) in shapes.items()
    }
    return Expert(name, factors, {"task_type": "FEATURE_EXTRACTION"})  # PEFT then asks nothing of the model


@contextmanager
def exported(experts: Sequence[Expert]) -> Iterator[list[Path]]:
    """Their folders, in order, for as long as they are needed."""
    with tempfile.TemporaryDirectory() as folder:
        library = Library(folder)
        for expert in experts:
            library.add(expert)
        yield [library.path / expert.name for expert in experts]
