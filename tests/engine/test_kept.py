"""What is kept comes back; what does not belong to these experts any more is refused; a kill leaves nothing half."""

import dataclasses
import json
import shutil

import pytest
import torch

from yosegi import files
from yosegi.core.expert import Expert, Factors
from yosegi.engine.arm import Arm
from yosegi.engine.kept import arms, load_arm, read_arm, remove_arm, save_arm
from yosegi.errors import Corrupt, Invalid, NoData, UnknownName, WrongBase
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
    training = {"seed": 1, "steps": None}
    more = {"tasks": ("t/a", "t/c"), "data_hash": "f" * 12, "training": training}
    return Arm("cm", experts, "centroid", {"top_k": 2}, learnt, "factors", 2, ("a",), **more)


def test_it_comes_back(library, trained):
    assert arms(library) == []
    save_arm(library, trained)
    assert arms(library) == ["cm"]
    again = load_arm(library, "cm")
    assert [e.name for e in again.experts] == ["c", "a"]
    assert again.router_state.keys() == trained.router_state.keys()
    assert all(torch.equal(again.router_state[key], value) for key, value in trained.router_state.items())
    for what in ("name", "router", "router_args", "mix", "heads", "ablate", "tasks", "data_hash", "training"):
        assert getattr(again, what) == getattr(trained, what), what
    card = files.read_json(library.path / "arms" / "cm" / "arm.json")
    assert card["experts"] == [{"name": n, "sha256": library.card(n)["sha256"]} for n in "ca"]
    assert card["base_hash"] == "b" * 12 and card["created"] and card["tasks"] == ["t/a", "t/c"]
    assert sorted(p.name for p in (library.path / "arms" / "cm").iterdir()) == ["arm.json", "state.safetensors"]


def test_the_library_does_not_mind(library, trained):
    save_arm(library, trained)
    assert list(library) == ["a", "b", "c"] and library.verify() == []
    library.add(expert("d"))
    assert arms(library) == ["cm"] and [e.name for e in load_arm(library, "cm").experts] == ["c", "a"]


def test_an_expert_that_is_gone_or_changed_is_said(library, trained):
    save_arm(library, trained)
    library.add(dataclasses.replace(expert("b")), overwrite=True)  # not one of its own
    load_arm(library, "cm")
    library.add(expert("a"), overwrite=True)
    with pytest.raises(
        Invalid, match="'cm' was made with another expert 'a' than .*: yosegi train-router --arm centroid"
    ):
        load_arm(library, "cm")
    library.remove("a")
    with pytest.raises(Invalid, match="'cm' was made with expert 'a', which is not in"):
        load_arm(library, "cm")


def test_only_the_experts_it_was_made_with(library, trained):
    library.add(expert("c"), overwrite=True)
    with pytest.raises(Invalid, match="Expert 'c' of .* is not the one"):
        save_arm(library, trained)
    library.remove("c")
    with pytest.raises(UnknownName, match="'c'"):
        save_arm(library, trained)
    assert not (library.path / "arms").exists()


def test_another_base_is_refused(library, trained):
    save_arm(library, trained)
    with pytest.raises(WrongBase):
        load_arm(Library(library.path, "c" * 12, "other"), "cm")


def test_names(library, trained):
    save_arm(library, trained)
    with pytest.raises(Invalid, match="has an arm called 'cm'"):
        save_arm(library, trained)
    louder = dataclasses.replace(trained, mix="outputs")
    save_arm(library, louder, overwrite=True)
    assert load_arm(library, "cm").mix == "outputs"
    with pytest.raises(UnknownName, match="No arm of this library is called 'cn'. Did you mean 'cm'"):
        load_arm(library, "cn")
    for name in ("é" * 5000, "\0", "../cm"):
        with pytest.raises(UnknownName):
            load_arm(library, name)
    for name in ("../cm", ".cm", ""):
        with pytest.raises(Invalid):
            save_arm(library, dataclasses.replace(trained, name=name))
    assert arms(Library(library.path / "nowhere")) == []


def test_damage_is_named(library, trained):
    save_arm(library, trained)
    folder = library.path / "arms" / "cm"
    whole = {path.name: path.read_bytes() for path in folder.iterdir()}
    changed = bytearray(whole["state.safetensors"])
    changed[-1] ^= 1
    for content in (bytes(changed), whole["state.safetensors"][:-3]):
        (folder / "state.safetensors").write_bytes(content)
        with pytest.raises(Corrupt, match="state.safetensors"):
            load_arm(library, "cm")
    (folder / "state.safetensors").unlink()
    with pytest.raises(NoData, match="state.safetensors"):
        load_arm(library, "cm")
    (folder / "state.safetensors").write_bytes(whole["state.safetensors"])
    card = json.loads(whole["arm.json"])
    bad = [
        {"tasks": None},
        {"tasks": "add"},
        {"ablate": 5},
        {"heads": True},
        {"router": []},
        {"experts": [{"name": "a"}]},
    ]
    bad += [{"experts": ["a"]}, {"merge_args": 5}, {"training": None}, {"mix": None}, {"sha256": 5}, {"merge": 1}]
    damaged = [json.dumps(card | fields) for fields in bad]
    card.pop("mix")
    for content in (whole["arm.json"][:30].decode(), "[]", json.dumps(card), *damaged):
        (folder / "arm.json").write_text(content)
        with pytest.raises(Corrupt, match="arm.json"):
            load_arm(library, "cm")


def test_nothing_half_is_left(library, trained, monkeypatch):
    save_arm(library, trained)
    want = files.read_json(library.path / "arms" / "cm" / "arm.json")
    with pytest.raises(Invalid, match="cannot be written as JSON"):
        save_arm(library, dataclasses.replace(trained, router_args={"x": float("nan")}), overwrite=True)

    def full(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(OSError):
            save_arm(library, dataclasses.replace(trained, mix="outputs"), overwrite=True)
    assert [p.name for p in (library.path / "arms").iterdir()] == ["cm"]
    assert files.read_json(library.path / "arms" / "cm" / "arm.json") == want


def test_what_a_killed_writer_left_is_tidied(library, trained):
    save_arm(library, trained)
    folder = library.path / "arms"
    (folder / ".new.abcd1234").mkdir()
    (folder / ".new.abcd1234" / "arm.json").write_text("{")
    shutil.move(folder / "cm", folder / ".cm.old.abcd1234" / "cm")  # killed between the two renames
    assert arms(library) == []
    save_arm(library, dataclasses.replace(trained, name="other"))
    assert arms(library) == ["cm", "other"] and load_arm(library, "cm").router == "centroid"
    assert sorted(p.name for p in folder.iterdir()) == ["cm", "other"]


def test_an_arm_of_any_kind_is_kept(library):
    merged = Arm("soup", library.load("ab"), merge="ties", merge_args={"density": 0.3, "weights": [0.7, 0.3]})
    save_arm(library, merged)
    again = load_arm(library, "soup")
    assert (again.merge, again.merge_args, again.router_state) == ("ties", merged.merge_args, {})
    remove_arm(library, "soup")
    assert arms(library) == [] and sorted(library) == ["a", "b", "c"]
    with pytest.raises(UnknownName, match="'soup'"):
        remove_arm(library, "soup")


def test_an_expert_and_an_arm_have_different_names(library, trained):
    with pytest.raises(Invalid, match="has an expert called 'a'"):
        save_arm(library, dataclasses.replace(trained, name="a"))


def test_a_joint_table_knows_its_own_tasks(library):
    """Poly's table may have taken up other tasks than its experts were trained on."""
    table = Arm("poly", library.load("ab"), "task_table", router_state={"|w": torch.zeros(1)}, tasks=("t/new",))
    save_arm(library, table)
    assert [expert.tasks for expert in load_arm(library, "poly").experts] == [("t/new",)] * 2


def test_a_router_of_an_earlier_version_is_refused_with_the_command(library):
    files.write_json(library.path / ".routers" / "cm" / "router.json", {"router": "centroid"})
    with pytest.raises(
        Invalid, match="Train it again: yosegi train-router --library .* --arm centroid --name cm-router"
    ):
        read_arm(library, "cm")
    assert arms(library) == [] and library.verify() == []
