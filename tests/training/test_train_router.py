"""A router is trained and kept by one call: what the command line does, from Python."""

import pytest

from yosegi.bases import load
from yosegi.engine.kept import arms, load_arm
from yosegi.errors import Invalid, WrongBase
from yosegi.inits import fresh
from yosegi.library.store import Library
from yosegi.training.train_router import train_router

QUICK = {"steps": 2, "limit": 4, "batch_size": 2}


@pytest.fixture
def library(tmp_path):
    base = load("nano", device="cpu")
    library = Library(tmp_path / "shelf", base.hash, base.name)
    for name in ("sort", "reverse"):
        library.add(fresh(base.model, name, rank=2, alpha=4, task=f"skills/{name}"))
    return library


def test_one_call_trains_and_keeps(library, tmp_path):
    base = load("nano", device="cpu")
    options = {"granularity": "global", "learning_rate": 0.05, "run": tmp_path / "r", **QUICK}
    with pytest.warns(UserWarning, match="does not say at which numbers it began"):  # fresh experts have no such card
        made = train_router(
            "static{constraint=free,mix=factors}", library, base, experts="sort,reverse", name="soup", **options
        )
    kept = load_arm(library, "soup")
    assert [expert.name for expert in kept.experts] == ["sort", "reverse"] == [expert.name for expert in made.experts]
    assert (kept.router, kept.router_args, kept.mix) == ("static", {"constraint": "free"}, "factors")
    assert kept.tasks == ("skills/reverse", "skills/sort") and kept.training["granularity"] == "global"
    assert {key: value.tolist() for key, value in kept.router_state.items()} == {
        key: value.tolist() for key, value in made.router_state.items()
    }


def test_tasks_of_no_expert_are_told_to_the_router(library, tmp_path):
    options = {"task": ["skills/sort", "skills/add"], "run": tmp_path / "r", **QUICK}
    made = train_router("predictor(sort)", library, **options)
    assert made.name == "predictor-router" and made.router_args == {"tasks": ["skills/sort", "skills/add"]}


def test_what_cannot_be_is_refused_before_anything_is_written(library, tmp_path):
    run = {"run": tmp_path / "r", **QUICK}
    for text, said in (
        ("arrow", "nothing to learn"),
        ("sort", "no router that could learn"),
        ("merge:cat", "no router"),
    ):
        with pytest.raises(Invalid, match=said):
            train_router(text, library, **run)
    for settings in ({"stepz": 2}, {"granularity": "word"}, {"steps": 0}):
        with pytest.raises(Invalid, match=next(iter(settings))):
            train_router("static", library, **settings)
    with pytest.raises(Invalid, match="path separator"):
        train_router("static", library, name="a/b", **run)
    with pytest.raises(WrongBase):
        other = load("nano", device="cpu")
        object.__setattr__(other, "hash", "another")
        train_router("static", library, other, **run)
    assert not (tmp_path / "r").exists() and arms(library) == []
