"""Six ways to fill a library, with the budget of each."""

import dataclasses

import pytest
import torch

from tests.training.conftest import flat, sums, tiny_base
from yosegi import files
from yosegi.errors import Invalid, WrongBase
from yosegi.inits import start_of
from yosegi.library.store import Library
from yosegi.run import Run
from yosegi.training.build import build, build_bank, take_up
from yosegi.training.job import Job
from yosegi.training.settings import BUILDS, Mhr, Poly, Private, Settings, Shared

QUICK = Settings(num_train_epochs=5, per_device_train_batch_size=4, learning_rate=5e-3, dropout=0, rank=2)
DATA = {f"t/{k}": sums()[20 * k : 20 * k + 20] for k in range(4)}


@pytest.fixture
def made(tmp_path):
    def make(way, settings=QUICK, **more):
        base = tiny_base()
        library = Library(tmp_path / way, base.hash, base.name)
        how = BUILDS[way](**{key: more.pop(key) for key in tuple(more) if key in BUILDS[way].model_fields})
        return library, build(base, library, how, DATA, Run(tmp_path / "run"), settings, **more)

    return make


def steps(library):
    return {name: card["metrics"]["steps"] for name, card in library.cards().items()}


def test_private_and_shared_read_everything_as_often(made):
    library, found = made("private")
    assert steps(library) == dict.fromkeys("0123", 25) and found.tasks["2"] == ("t/2",)
    library, found = made("shared")
    assert steps(library) == {"shared": 100} and library["shared"].tasks == tuple(DATA)


def test_mbc_divides_the_budget_and_keeps_its_evidence(made, tmp_path):
    library, found = made("mbc", clusters=2)
    brief = Library(tmp_path / "mbc-brief")
    assert steps(brief) == dict.fromkeys("0123", 10), "two of five passes"
    assert sorted(task for group in found.tasks.values() for task in group) == sorted(DATA)
    assert steps(library) == {name: 15 * len(group) for name, group in found.tasks.items()}, "three of five"
    kept = files.read_json(tmp_path / "run" / "mbc.partition.json")
    assert kept["k"] == 2 and len(kept["similarity"]) == 4 and kept["tasks"].keys() == found.tasks.keys()


def test_mbc_may_compare_what_moved_after_the_whole_training(made, tmp_path):
    library, found = made("mbc", clusters=2, space="moved", after="full")
    assert steps(Library(tmp_path / "mbc-brief")) == dict.fromkeys("0123", 25), "all five passes"
    assert steps(library) == {name: 15 * len(group) for name, group in found.tasks.items()}
    kept = files.read_json(tmp_path / "run" / "mbc.partition.json")
    assert kept["space"] == "moved"
    private = Library(tmp_path / "mbc-brief").load()
    start = start_of(tiny_base().model, private[0])
    assert all(
        torch.equal(start.factors[n].A_RI, start_of(tiny_base().model, private[3]).factors[n].A_RI)
        for n in start.factors
    )
    want = [[flat_cosine(one, other, start) for other in private] for one in private]
    assert torch.allclose(torch.tensor(kept["similarity"]), torch.tensor(want), atol=0.05)


def flat_cosine(one, other, start):
    """The cosine of A - A₀ and B of two experts, the smaller half of each set to zero."""
    vectors = []
    for expert in (one, other):
        parts = [
            torch.cat([(f.A_RI - start.factors[n].A_RI).flatten(), f.B_OR.flatten()]) for n, f in expert.factors.items()
        ]
        vector = torch.cat(parts).double()
        vectors.append(vector * (vector.abs() > vector.abs().median()))
    return float(torch.nn.functional.cosine_similarity(*vectors, dim=0))


def test_random_clusters_train_as_mbc_does(made):
    library, found = made("random", clusters=2)
    assert steps(library) == {"random0": 30, "random1": 30} and all(len(group) == 2 for group in found.tasks.values())


def test_the_limit_is_of_each_task(made):
    library, found = made("shared", QUICK.model_copy(update={"limit": 8}))
    assert library.card("shared")["metrics"]["examples"] == 32


def test_what_is_there_stays_and_what_differs_is_refused(made):
    library, _ = made("private")
    library.remove("1")
    before = {name: card["created"] for name, card in library.cards().items()}
    library, _ = made("private")
    assert {name: library.card(name)["created"] for name in before} == before and "1" in library
    with pytest.raises(Invalid, match=r"another expert called '0' \(rank was \d+, is 3\): --overwrite"):
        made("private", QUICK.model_copy(update={"rank": 3}))
    library, _ = made("private", QUICK.model_copy(update={"rank": 3}), overwrite=True)
    assert library.card("0")["rank"] == 3


def test_errors(made, tmp_path):
    with pytest.raises(Invalid, match="experts of one name"):
        made("private", names=dict.fromkeys(DATA, "one"))
    with pytest.raises(Invalid, match="begin apart"):
        build_bank(tiny_base(), Poly(), DATA, Run(tmp_path), QUICK.model_copy(update={"init": "pissa"}), name="poly")


def test_mhr_takes_up_a_new_task(tmp_path):
    base, short = tiny_base(), QUICK.model_copy(update={"num_train_epochs": 1})
    bank = build_bank(base, Mhr(experts=2, heads=4), DATA, Run(tmp_path), short, name="mhr")
    learnt = bank.router_state
    assert all(value.shape == (4, 4, 2) for value in learnt.values())
    taken = take_up(base, bank, {"a": sums()[:8], "b": sums()[90:]}, Run(tmp_path), short)
    new = taken.router_state
    assert taken.heads == 4 and taken.tasks == ("a", "b")
    assert new.keys() == learnt.keys() and all(value.shape == (2, 4, 2) for value in new.values())
    assert any((new[name][0] - new[name][1]).abs().max() > 1e-3 for name in new), "each task its own row"


@pytest.mark.parametrize("kept", [1, 2, 3, 4])
def test_killed_between_two_experts_that_were_kept(kept, made, tmp_path, monkeypatch):
    """Also before the last one, and after it, when nothing is left to be done but to delete the checkpoint."""
    add, names = Library.add, []

    def killed(self, expert, **more):
        if len(names) == kept:
            raise KeyboardInterrupt
        add(self, expert, **more)
        names.append(expert.name)

    monkeypatch.setattr(Library, "add", killed)
    if kept == 4:
        monkeypatch.setattr(Job, "finish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        made("private")
    monkeypatch.undo()
    assert list((tmp_path / "run" / "checkpoint").iterdir())
    library, _ = made("private")
    base = tiny_base()
    whole = Library(tmp_path / "whole", base.hash, base.name)
    build(base, whole, Private(), DATA, Run(tmp_path / "other"), QUICK)
    assert list(library) == list(whole) and all(torch.equal(flat(library[n]), flat(whole[n])) for n in whole)
    assert {library.card(name)["metrics"]["fleet"] for name in library} == {4}
    assert not list((tmp_path / "run" / "checkpoint").iterdir())


def test_other_data_or_another_base_is_refused(tmp_path):
    base, few = tiny_base(), QUICK.model_copy(update={"limit": 4})
    library = Library(tmp_path / "l", base.hash, base.name)
    build(base, library, Shared(), DATA, Run(tmp_path), few)
    with pytest.raises(Invalid, match="another expert"):
        build(base, library, Shared(), DATA, Run(tmp_path), QUICK)
    other = dataclasses.replace(base, hash="f" * 12)
    with pytest.raises(WrongBase):
        build(other, Library(library.path, other.hash), Shared(), DATA, Run(tmp_path), few)


@pytest.mark.parametrize(("way", "more"), [("private", {"names": {"t/0": "a/b"}}), ("mbc", {"clusters": 9})])
def test_what_cannot_be_is_said_before_anything_is_trained(made, tmp_path, way, more):
    with pytest.raises(Invalid):
        made(way, **more)
    assert not (tmp_path / "run" / "metrics.jsonl").exists()
