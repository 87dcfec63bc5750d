"""The embedded base, a library of random experts beside it, and settings of a search among them."""

from dataclasses import replace

import pytest
import torch

from yosegi.bases import Base, load
from yosegi.core.expert import Expert, Factors
from yosegi.inits import fresh
from yosegi.library.store import Library
from yosegi.run import Run
from yosegi.search.settings import Search, SearchSettings
from yosegi.search.study import search


def loud(base: Base, name: str, task: str, rank: int = 2, size: float = 0.1) -> Expert:
    """An expert that really says something."""
    expert = fresh(base.model, name, rank=rank, alpha=2 * rank, task=task)
    factors = {k: Factors(f.A_RI, torch.randn_like(f.B_OR) * size, f.scale) for k, f in expert.factors.items()}
    return Expert(name, factors, {**expert.card, "base_hash": base.hash, "init": "kaiming", "init_seed": 0})


def go(opened: Search, run: Run, **more):
    """The same search with other trials, timeout or workers."""
    return search(replace(opened, settings=opened.settings.model_copy(update=more)), run)


@pytest.fixture(scope="session")
def nano() -> Base:
    return load("nano", device="cpu")


@pytest.fixture
def trio(nano) -> list[Expert]:
    """Three experts of one rank."""
    return [
        loud(nano, name, task) for name, task in (("a", "skills/add"), ("b", "skills/reverse"), ("c", "skills/sort"))
    ]


@pytest.fixture
def shelf(nano, trio, tmp_path) -> Library:
    """The same on disk."""
    library = Library(tmp_path / "shelf", nano.hash, nano.name)
    for expert in trio:
        library.add(expert)
    return library


@pytest.fixture
def settings(shelf):
    """settings(sampler="cmaes"): few questions, log p of two skills."""

    def make(**more) -> SearchSettings:
        more = {"task": ["skills/add:logp", "skills/reverse:logp"], "limit": 4, "rounds": 2, **more}
        return SearchSettings(library=str(shelf.path), **more)

    return make
