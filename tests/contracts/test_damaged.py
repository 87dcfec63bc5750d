"""One damaged expert takes nothing down: the verbs for a whole library leave it out and say so, its own verbs refuse it."""

import json
import os
import warnings

import pytest
import torch
from safetensors.torch import load_file, save_file

from yosegi.core.expert import Expert, Factors
from yosegi.engine.spec import parse_arms
from yosegi.errors import YosegiError
from yosegi.library.similarity import similarity
from yosegi.library.store import Library

CARD, CONFIG, WEIGHTS = "expert.json", "adapter_config.json", "adapter_model.safetensors"
LAYER = "model.layers.0.self_attn.q_proj"


def card(**fields):
    return lambda folder: _edit(folder / CARD, fields)


def config(**fields):
    return lambda folder: _edit(folder / CONFIG, fields)


def _edit(path, fields):
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def text(part, content):
    return lambda folder: (folder / part).write_bytes(content if isinstance(content, bytes) else content.encode())


def tensors(change):
    return lambda folder: save_file(change(load_file(folder / WEIGHTS)), folder / WEIGHTS)


def loop(part):
    def damage(folder):
        (folder / part).unlink()
        (folder / part).symlink_to(part)

    return damage


def out(folder):
    (folder / CARD).unlink()
    (folder / CARD).symlink_to("/etc/hostname")


DAMAGES = {
    **{f"card: {field}={value!r:.20}": card(**{field: value}) for field, value in {
        "training": 5, "base_hash": 5, "task": {"a": 1}, "rank": "four", "alpha": [1], "parents": 7, "metrics": "good",
        "init_seed": True, "sha256": [], "created": 5, "license": {}, "targets": [1], "chat_template": 1,
    }.items()},
    **{f"config: {field}={value!r:.20}": config(**{field: value}) for field, value in {
        "target_modules": 5, "r": True, "lora_alpha": 10**400, "rank_pattern": {"(": 3}, "alpha_pattern": [1], "peft_type": 1,
        "exclude_modules": {"a": 1}, "bias": [1], "use_dora": True, "init_lora_weights": {"a": 1},
    }.items()},
    "card: deep": text(CARD, "[" * 100_000), "card: a long number": text(CARD, '{"rank": ' + "9" * 5000 + "}"),
    "card: a key twice": text(CARD, '{"rank": 1, "rank": 2}'), "card: a list": text(CARD, "[]"), "card: empty": text(CARD, ""),
    "card: half a character": text(CARD, '{"base": "\\ud800"}'), "card: not text": text(CARD, b"\xff\xfe\x00"),
    "card: links in a circle": loop(CARD), "config: links in a circle": loop(CONFIG), "card: a link that leads out": out,
    "weights: cut": lambda folder: os.truncate(folder / WEIGHTS, 100), "weights: empty": text(WEIGHTS, ""),
    "weights: float8": tensors(lambda all_: {key: t.to(torch.float8_e4m3fn) for key, t in all_.items()}),
    "weights: integers": tensors(lambda all_: {key: t.to(torch.int32) for key, t in all_.items()}),
    "weights: no B": tensors(lambda all_: {key: t for key, t in all_.items() if "lora_B" not in key}),
    "weights: a header of thousands of millions": text(WEIGHTS, b"\xff" * 7 + b"\x0f{}"),
    "weights: none": tensors(lambda all_: {}),
}  # fmt: skip


@pytest.fixture
def library(tmp_path):
    library = Library(tmp_path / "library", "0123456789ab", "tiny")
    for name in ("bad", "good", "well"):
        factors = {LAYER: Factors(torch.randn(2, 8), torch.randn(8, 2), 0.5)}
        library.add(Expert(name, factors, {"task": [f"skills/{name}"], "base_hash": "0123456789ab"}))
    return library


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_the_others_are_there_and_the_bad_one_is_named(library, damage):
    damage(library.path / "bad")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        experts, cards, originals = library.load(), library.cards(), library.originals()
        (arm,) = parse_arms(["uniform"], library)
    assert (
        [expert.name for expert in experts] == originals == [expert.name for expert in arm.experts] == ["good", "well"]
    )
    assert set(cards) >= {"good", "well"} and similarity(experts).shape == (2, 2)
    mine = [str(one.message) for one in said if "left out" in str(one.message)]
    assert mine and all("'bad'" in one and one.isprintable() and len(one) < 2100 for one in mine)
    faults = library.verify()
    assert faults and all((library.path / "bad") in (fault.file, *fault.file.parents) for fault in faults)
    assert all(str(fault).isprintable() and len(str(fault)) < 2100 for fault in faults)
    with pytest.raises(YosegiError) as error:
        library["bad"]
    assert str(error.value).isprintable() and len(str(error.value)) < 2100
    library.remove("bad")
    assert library.verify() == []


@pytest.mark.parametrize(
    "make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to(path.name)], ids=["fifo", "folder", "link"]
)
def test_a_lock_that_is_no_file_hangs_nobody(library, make):
    (library.path / ".lock").unlink()
    make(library.path / ".lock")
    for ask in (library.cards, library.load, library.verify, lambda: library["good"], lambda: library.remove("bad")):
        with pytest.raises(YosegiError, match=r"\.lock is not a file"):
            ask()


def test_a_name_that_is_no_text(library):
    (folder := library.path / os.fsdecode(b"\xff\x1b[31m")).mkdir()
    (folder / CARD).write_text("{}")
    with pytest.warns(UserWarning, match="left out") as said:
        assert list(library.cards()) == ["bad", "good", "well"]
    assert all(str(one.message).isprintable() for one in said)
    assert [fault.file.name.isprintable() for fault in library.verify()] == [False]


def test_a_delta_of_zero_and_targets_without_a_layer_are_said(library):
    _edit(library.path / "bad" / CONFIG, {"target_modules": [LAYER, "v_proj"]})
    (fault,) = library.verify()
    assert "no layer for 1 of its 2 target modules ('v_proj')" in str(fault)
    zero = {LAYER: Factors(torch.randn(2, 8), torch.zeros(8, 2), 0.5)}
    library.add(Expert("zero", zero, {"base_hash": "0123456789ab"}))
    assert "changes nothing" in str(library.verify()[1])
