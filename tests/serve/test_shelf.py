"""The library in memory: what is whole counts, what is half written waits, what is damaged is named."""

import shutil

import pytest

from tests.serve.conftest import expert
from yosegi.core.model import linears, shape
from yosegi.engine.spec import parse_arm
from yosegi.errors import UnknownName
from yosegi.serve.shelf import Shelf

WEIGHTS = "adapter_model.safetensors"


@pytest.fixture
def shelf(nano, library):
    modules = dict(nano.model.named_modules())
    made = Shelf(library.path, nano.hash, nano.name, {name: shape(modules[name]) for name in linears(nano.model)})
    made.look()
    return made


def test_experts_come_change_and_go(nano, library, shelf):
    assert list(shelf) == ["adder", "copier", "turner"] and not shelf.look()
    before, version = parse_arm("adder", shelf).experts[0], shelf.version
    assert parse_arm("adder+copier", shelf).experts[0] is before, "read once"
    library.add(expert(nano, "adder", seed=1), overwrite=True)
    library.add(expert(nano, "newer"))
    del library["copier"]
    assert shelf.look() and shelf.version > version
    assert list(shelf) == ["adder", "copier", "newer", "turner"], "what is away may only be in the middle of a rename"
    assert shelf.look() and list(shelf) == ["adder", "newer", "turner"]
    after = parse_arm("adder", shelf).experts[0]
    assert after.card["sha256"] != before.card["sha256"]
    with pytest.raises(UnknownName, match="copier"):
        parse_arm("copier", shelf)
    assert {e.name for e in parse_arm("arrow", shelf).experts} == {"adder", "newer", "turner"}


def test_half_a_copy_waits_and_then_is_whole(library, shelf):
    new = library.path / "late"
    new.mkdir()
    for part in ("expert.json", "adapter_config.json"):
        text = (library.path / "adder" / part).read_text().replace('"adder"', '"late"')
        (new / part).write_text(text)
    assert not shelf.look() and "late" not in shelf.entries
    shutil.copy(library.path / "adder" / WEIGHTS, new)
    assert shelf.look() and "late" in shelf


def test_damage_is_named_and_hurts_nobody_else(library, shelf, caplog):
    file = library.path / "adder" / WEIGHTS
    kept = parse_arm("turner", shelf).experts[0]
    content = bytearray(file.read_bytes())
    content[-1] ^= 255
    file.write_bytes(content)
    shelf.look()
    assert "adder" in shelf, "perhaps it is being written"
    shelf.look()
    assert list(shelf) == ["copier", "turner"] and "is not what was written" in shelf.broken["adder"]
    assert str(library.path) not in shelf.broken["adder"] and "adder" in caplog.text
    (library.path / "turner" / WEIGHTS).write_bytes(b"")  # cut short under our feet
    assert float(next(iter(kept.factors.values())).A_RI.abs().sum()) > 0
    shutil.rmtree(library.path / "copier")
    (library.path / "copier").mkdir()
    for _ in range(2):
        shelf.look()
    assert list(shelf) == [] and set(shelf.broken) == {"adder", "turner"}


def test_experts_of_another_shape_or_beyond_all_numbers_are_refused(nano, library, shelf, tmp_path):
    wild = expert(nano, "wild", size=1e30)
    library.add(wild)
    for _ in range(2):
        shelf.look()
    assert "numbers above 1e+25" in shelf.broken["wild"]
    other = Shelf(library.path, nano.hash, nano.name, {})
    other.look()
    assert "is no linear of nano" in other.broken["adder"]
    (tmp_path / "elsewhere").mkdir()
    shutil.copytree(library.path / "adder", tmp_path / "elsewhere" / "linked")
    (library.path / "linked").symlink_to(tmp_path / "elsewhere" / "linked")
    for _ in range(2):
        shelf.look()
    assert "leads out of the library" in shelf.broken["linked"]


def test_one_that_is_asked_for_now_is_taken_at_once_or_named(nano, library, shelf):
    (library.path / "half").mkdir()
    (library.path / "half" / "expert.json").write_text("{")
    shelf.look(now="half")
    assert "half" in shelf.broken
    assert Shelf(library.path / "nowhere", nano.hash, nano.name, {}).look() is False
