"""What is kept comes back; what does not belong to these experts any more is refused; a kill leaves nothing half."""

import dataclasses
import json
import shutil

import pytest
import torch

from yosegi import files
from yosegi.core.expert import Expert, Factors
from yosegi.errors import Corrupt, Invalid, NoData, UnknownName, WrongBase
from yosegi.library.routers import TrainedRouter, load_router, routers, save_router
from yosegi.library.store import Library


def expert(name):
    return Expert(
        name, {"m.q": Factors(torch.randn(2, 5), torch.randn(3, 2))}, {"task": [f"t/{name}"], "base_hash": "b" * 12}
    )


@pytest.fixture
def library(tmp_path):
    library = Library(tmp_path / "shelf", "b" * 12, "base")
    for name in "abc":
        library.add(expert(name))
    return library


@pytest.fixture
def trained(library):
    learnt = {"m.q|learnt.p_EI": torch.randn(2, 5).mT.contiguous().mT, "|learnt.w": torch.randn(3).bfloat16()}
    experts = library.load(["c", "a"])  # an order of its own
    recipe = {"seed": 1, "steps": None}
    return TrainedRouter(
        "cm", "centroid", {"top_k": 2}, experts, learnt, "factors", 2, ("t/a", "t/c"), "f" * 12, recipe
    )


def test_it_comes_back(library, trained):
    assert routers(library) == []
    save_router(library, trained)
    assert routers(library) == ["cm"]
    again = load_router(library, "cm")
    assert [e.name for e in again.experts] == ["c", "a"]
    assert again.learnt.keys() == trained.learnt.keys()
    assert all(torch.equal(again.learnt[key], value) for key, value in trained.learnt.items())
    for what in ("name", "router", "args", "mix", "heads", "tasks", "data_hash", "recipe"):
        assert getattr(again, what) == getattr(trained, what), what
    card = files.read_json(library.path / ".routers" / "cm" / "router.json")
    assert card["experts"] == [{"name": n, "sha256": library.card(n)["sha256"]} for n in "ca"]
    assert card["base_hash"] == "b" * 12 and card["created"] and card["tasks"] == ["t/a", "t/c"]
    assert sorted(p.name for p in (library.path / ".routers" / "cm").iterdir()) == ["router.json", "router.safetensors"]


def test_the_library_does_not_mind(library, trained):
    save_router(library, trained)
    assert list(library) == ["a", "b", "c"] and library.verify() == []
    library.add(expert("d"))
    assert routers(library) == ["cm"] and [e.name for e in load_router(library, "cm").experts] == ["c", "a"]


def test_an_expert_that_is_gone_or_changed_is_said(library, trained):
    save_router(library, trained)
    library.add(dataclasses.replace(expert("b")), overwrite=True)  # not one of its own
    load_router(library, "cm")
    library.add(expert("a"), overwrite=True)
    with pytest.raises(
        Invalid, match="'cm' learnt beside another expert 'a' than .*: yosegi train-router --router centroid"
    ):
        load_router(library, "cm")
    library.remove("a")
    with pytest.raises(Invalid, match="'cm' learnt beside expert 'a', which is not in"):
        load_router(library, "cm")


def test_only_the_experts_it_learnt_beside(library, trained):
    library.add(expert("c"), overwrite=True)
    with pytest.raises(Invalid, match="Expert 'c' of .* is not the one"):
        save_router(library, trained)
    library.remove("c")
    with pytest.raises(UnknownName, match="'c'"):
        save_router(library, trained)
    assert not (library.path / ".routers").exists()


def test_another_base_is_refused(library, trained):
    save_router(library, trained)
    with pytest.raises(WrongBase):
        load_router(Library(library.path, "c" * 12, "other"), "cm")


def test_names(library, trained):
    save_router(library, trained)
    with pytest.raises(Invalid, match="has a router called 'cm'"):
        save_router(library, trained)
    louder = dataclasses.replace(trained, mix="outputs")
    save_router(library, louder, overwrite=True)
    assert load_router(library, "cm").mix == "outputs"
    with pytest.raises(UnknownName, match="No router of this library is called 'cn'. Did you mean 'cm'"):
        load_router(library, "cn")
    for name in ("../cm", ".cm", ""):
        with pytest.raises(Invalid):
            save_router(library, dataclasses.replace(trained, name=name))
    assert routers(Library(library.path / "nowhere")) == []


def test_damage_is_named(library, trained):
    save_router(library, trained)
    folder = library.path / ".routers" / "cm"
    whole = {path.name: path.read_bytes() for path in folder.iterdir()}
    changed = bytearray(whole["router.safetensors"])
    changed[-1] ^= 1
    for content in (bytes(changed), whole["router.safetensors"][:-3]):
        (folder / "router.safetensors").write_bytes(content)
        with pytest.raises(Corrupt, match="router.safetensors"):
            load_router(library, "cm")
    (folder / "router.safetensors").unlink()
    with pytest.raises(NoData, match="router.safetensors"):
        load_router(library, "cm")
    card = json.loads(whole["router.json"])
    card.pop("mix")
    for content in (whole["router.json"][:30].decode(), "[]", json.dumps(card)):
        (folder / "router.json").write_text(content)
        with pytest.raises(Corrupt, match="router.json"):
            load_router(library, "cm")


def test_nothing_half_is_left(library, trained, monkeypatch):
    save_router(library, trained)
    want = files.read_json(library.path / ".routers" / "cm" / "router.json")
    with pytest.raises(Invalid, match="cannot be written as JSON"):
        save_router(library, dataclasses.replace(trained, args={"x": float("nan")}), overwrite=True)

    def full(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(OSError):
            save_router(library, dataclasses.replace(trained, mix="outputs"), overwrite=True)
    assert [p.name for p in (library.path / ".routers").iterdir()] == ["cm"]
    assert files.read_json(library.path / ".routers" / "cm" / "router.json") == want


def test_what_a_killed_writer_left_is_tidied(library, trained):
    save_router(library, trained)
    folder = library.path / ".routers"
    (folder / ".new.abcd1234").mkdir()
    (folder / ".new.abcd1234" / "router.json").write_text("{")
    shutil.move(folder / "cm", folder / ".cm.old.abcd1234" / "cm")  # killed between the two renames
    assert routers(library) == []
    save_router(library, dataclasses.replace(trained, name="other"))
    assert routers(library) == ["cm", "other"] and load_router(library, "cm").router == "centroid"
    assert sorted(p.name for p in folder.iterdir()) == ["cm", "other"]
