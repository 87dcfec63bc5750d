"""The library: what goes in comes out, two processes lose nothing, and a kill or a full disk leaves no half of an expert."""

import errno
import json
import multiprocessing
import os
import signal
import threading

import pytest
import torch

from yosegi import files
from yosegi.core.expert import Expert, Factors
from yosegi.core.model import attach
from yosegi.errors import Corrupt, Invalid, NoData, Refused, UnknownName, WrongBase
from yosegi.library.store import Library
from yosegi.routers.uniform import Uniform


def expert(name="x", fill=None, rank=2, **card):
    """Two layers of 5 inputs and 3 outputs."""

    def factor(*shape):
        return torch.randn(shape) if fill is None else torch.full(shape, float(fill))

    factors = {layer: Factors(factor(rank, 5), factor(3, rank), 0.5) for layer in ("m.up", "m.down")}
    return Expert(name, factors, card)


def same(one, other):
    assert one.factors.keys() == other.factors.keys()
    for layer, f in one.factors.items():
        assert torch.equal(f.A_RI, other.factors[layer].A_RI)
        assert torch.equal(f.B_OR, other.factors[layer].B_OR)
        assert f.A_RI.dtype == other.factors[layer].A_RI.dtype
        assert f.scale == other.factors[layer].scale


@pytest.fixture
def library(tmp_path):
    return Library(tmp_path / "library")


def on_disk(library):
    """Everything there, to the byte, but for the lock."""
    return {
        p.relative_to(library.path): p.read_bytes()
        for p in library.path.rglob("*")
        if p.is_file() and p.name != ".lock"
    }


# What goes in comes out


def test_an_expert_comes_back_as_it_went_in(library):
    mixed = Expert(
        "数学-1",
        {
            "a.q": Factors(torch.randn(4, 6), torch.randn(8, 4), 2.0),
            "a.v": Factors(torch.randn(1, 6).bfloat16(), torch.randn(2, 1).bfloat16(), 0.3),
            "b.q": Factors(torch.randn(3, 6).double(), torch.randn(2, 3).double(), 1 / 3),
        },
        {"task": ["gsm8k"], "training": {"lr": 1e-3}, "parents": ["p"], "metrics": {"loss": 1.5}, "steps": 7},
    )
    library.add(mixed)
    back = library["数学-1"]
    same(mixed, back)
    assert back.name == "数学-1" and back.tasks == ("gsm8k",)
    assert back.card["training"] == {"lr": 1e-3} and back.card["steps"] == 7 and back.card["metrics"] == {"loss": 1.5}
    assert library.verify() == []


def test_it_is_a_mapping(library):
    for name in ("b", "a", "c"):
        library.add(expert(name))
    assert list(library) == ["a", "b", "c"] and len(library) == 3
    assert "a" in library and "z" not in library and "../a" not in library and 3 not in library
    assert [e.name for e in library.values()] == ["a", "b", "c"]
    assert library.get("z") is None and library.get("a").name == "a"
    del library["a"]
    assert list(library) == ["b", "c"]
    library["a"] = expert("other", fill=1)
    assert library["a"].name == "a" and library["a"].factors["m.up"].A_RI.unique().tolist() == [1.0]
    library["a"] = expert("other", fill=2)
    assert library["a"].factors["m.up"].A_RI.unique().tolist() == [2.0]
    assert [e.name for e in library.load(["c", "a"])] == ["c", "a"]


def test_the_card_has_every_field_and_needs_no_tensors(library):
    library.add(expert(task="gsm8k", base="org/model", base_hash="a1b2c3d4e5f6", init="kaiming", init_seed=3))
    (library.path / "x" / "adapter_model.safetensors").unlink()
    card = library.card("x")
    wanted = "name base base_hash task data_hash init init_seed rank alpha targets training parents metrics created yosegi_version"
    assert set(card) == {*wanted.split(), "sha256"}
    assert (card["task"], card["rank"], card["alpha"], card["targets"]) == (["gsm8k"], 2, 1, ["up", "down"])
    assert library.cards() == {"x": card}


def test_the_card_is_read_off_the_factors_again_when_an_expert_moves(library, tmp_path):
    library.add(expert(task="t", base_hash="b" * 12))
    other = Library(tmp_path / "other")
    other.add(Expert("y", library["x"].pad(5).factors, library["x"].card))
    before, after = library.card("x"), other.card("y")
    assert after["name"] == "y" and after["rank"] == 5 and after["alpha"] == 2.5 and after["sha256"] != before["sha256"]
    assert after["created"] == before["created"] and after["base_hash"] == before["base_hash"]
    assert other.verify() == []


def test_the_model_card_says_what_is_known(library):
    library.add(
        expert("a|b", task=["gsm8k", "mgsm_ja"], base="Qwen/Qwen3-0.6B", base_hash="abc", license="apache-2.0",
               metrics={"gsm8k/accuracy": 0.41}, training={"lr": 1e-3}, init="pissa", init_seed=0)
    )  # fmt: skip
    text = (library.path / "a|b" / "README.md").read_text()
    front = text.split("---\n")[1]
    import yaml

    assert yaml.safe_load(front) == {
        "base_model": "Qwen/Qwen3-0.6B",
        "library_name": "peft",
        "pipeline_tag": "text-generation",
        "license": "apache-2.0",
        "tags": ["base_model:adapter:Qwen/Qwen3-0.6B", "lora", "yosegi"],
    }
    assert "More Information Needed" not in text and "None" not in text
    for output in (
        "gsm8k, mgsm_ja",
        "| gsm8k/accuracy | 0.41 |",
        '| training | {"lr": 0.001} |',
        "pissa, seed 0",
        "# a|b",
    ):
        assert output in text, output


def test_an_expert_that_cannot_be_written_leaves_nothing(library):
    bad = {
        "NaN": expert(fill=float("nan")),
        "no layers": Expert("x", {}, {}),
        r"\[R, I\]": Expert("x", {"m": Factors(torch.randn(2, 5), torch.randn(3, 4))}),
        "'training' cannot be written": expert(training={"fn": print}),
        "'metrics' cannot be written": expert(metrics={"loss": float("nan")}),
    }
    for message, it in bad.items():
        with pytest.raises(Invalid, match=message):
            library.add(it)
    assert not library.path.exists()


# Names and paths


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../up",
        "a/b",
        "a\\b",
        ".hidden",
        "/etc",
        "a\nb",
        "a\0b",
        "a\u202eb",
        " a",
        "か\u3099",
        "x" * 201,
        3,
        None,
    ],
)
def test_a_name_that_could_be_a_path_is_refused(library, name):
    library.add(expert("ok"))
    before = on_disk(library)
    for do in (
        lambda: library.add(expert(name)),
        lambda: library[name],
        lambda: library.remove(name),
        lambda: library.card(name),
    ):
        with pytest.raises(Invalid):
            do()
    assert name not in library and on_disk(library) == before


@pytest.mark.parametrize("name", ["数学", "a b", "Qwen3-0.6B+gsm8k", "x" * 200, "が", "a.old", "~"])
def test_other_names_are_fine(library, name):
    library[name] = expert(fill=1)
    library[name] = expert(fill=2)
    assert list(library) == [name] and library[name].factors["m.up"].A_RI[0, 0] == 2
    assert library.verify() == []


def test_links_that_lead_out_are_refused(library, tmp_path):
    outside = Library(tmp_path / "outside")
    outside.add(expert("secret"))
    library.add(expert("mine"))
    (library.path / "linked").symlink_to(outside.path / "secret")
    weights = library.path / "mine" / "adapter_model.safetensors"
    weights.unlink()
    weights.symlink_to(outside.path / "secret" / "adapter_model.safetensors")
    for name, place in (("linked", "library/linked"), ("mine", "mine/adapter_model.safetensors")):
        with pytest.raises(Invalid, match=f"{place} is a link that leads out of the library"):
            library[name]
    assert len(library.verify()) == 2
    library.remove("linked")
    assert "linked" not in library and list(outside) == ["secret"] and outside.verify() == []


def test_a_missing_library_is_an_error(library, tmp_path):
    for do in (lambda: len(library), lambda: list(library), library.load, library.cards, library.verify,
               lambda: library["x"], lambda: library.remove("x"), lambda: library.card("x")):  # fmt: skip
        with pytest.raises(NoData, match="There is no library at .*library"):
            do()
    assert "x" not in library and not library.path.exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(Invalid, match="is a file"):
        Library(tmp_path / "file")


def test_a_missing_expert_is_said_with_what_is_near(library):
    library.add(expert("gsm8k"))
    with pytest.raises(UnknownName, match="No expert of this library is called 'gsm8'. Did you mean 'gsm8k'?"):
        library["gsm8"]


def test_reading_writes_nothing(tmp_path):
    (tmp_path / "library").mkdir()
    assert list(Library(tmp_path / "library")) == [] and Library(tmp_path / "library").verify() == []
    assert list((tmp_path / "library").iterdir()) == []


# Bases


def test_an_expert_refuses_another_base(library):
    library.add(expert("gsm8k", base="Qwen/Qwen3-0.6B", base_hash="a1b2ffff0000"))
    other = Library(library.path, "c3d4ffff0000", "Qwen/Qwen3-1.7B")
    output = r"^expert 'gsm8k' was trained beside Qwen3-0.6B@a1b2; this is Qwen3-1.7B@c3d4\.$"
    for do in (lambda: other["gsm8k"], other.load, lambda: other.add(library["gsm8k"], overwrite=True)):
        with pytest.raises(WrongBase, match=output):
            do()
    assert [str(p.file.name) for p in other.verify()] == ["expert.json"]
    assert other.card("gsm8k")["base"] == "Qwen/Qwen3-0.6B"
    assert Library(library.path, "a1b2ffff0000")["gsm8k"].name == "gsm8k"


def test_hashes_that_begin_alike_are_told_apart(library):
    library.add(expert("x", base="m", base_hash="a1b2ffff0000"))
    with pytest.raises(WrongBase, match="m@a1b2ffff0000; this is a base@a1b2ffff0001"):
        Library(library.path, "a1b2ffff0001")["x"]


def test_an_expert_that_does_not_say_its_base_is_recorded_under_the_librarys(library):
    Library(library.path, "a1b2", "m").add(expert("x"))
    assert (library.card("x")["base"], library.card("x")["base_hash"]) == ("m", "a1b2")
    library.add(expert("unsaid"))
    with pytest.raises(WrongBase, match="does not say which base"):
        Library(library.path, "a1b2")["unsaid"]


# Whole or not at all


def test_a_name_is_taken_once(library):
    library.add(expert(fill=1))
    before = on_disk(library)
    with pytest.raises(Invalid, match="has an expert called 'x'"):
        library.add(expert(fill=2))
    assert on_disk(library) == before
    (library.path / "notes").mkdir()
    (library.path / "notes" / "mine.txt").write_text("keep")
    with pytest.raises(Invalid, match="is in the way"):
        library.add(expert("notes"), overwrite=True)
    assert (library.path / "notes" / "mine.txt").read_text() == "keep" and list(library) == ["x"]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("when", ["fsync", "write"])
def test_a_full_disk_leaves_what_was_there(library, monkeypatch, overwrite, when):
    library.add(expert("x", fill=1))
    before = on_disk(library)

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(*((os, "fsync") if when == "fsync" else ("pathlib.Path.write_text",)), full)
        with pytest.raises(OSError, match="No space left"):
            library.add(expert("x" if overwrite else "y", fill=2), overwrite=overwrite)
    assert on_disk(library) == before and library.verify() == []
    assert sorted(p.name for p in library.path.iterdir()) == [".lock", "x"]


def in_a_child_that_dies(work):
    """Run `work` in a forked process; it must be killed by SIGKILL."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("name", ["x", "new"])
@pytest.mark.parametrize(
    "at", ["pathlib.Path.write_text", "os.fsync", "pathlib.Path.rename", "shutil.rmtree", "tempfile.mkdtemp"]
)
def test_a_writer_that_is_killed_leaves_a_library_that_loads(library, monkeypatch, at, name):
    library.add(expert("x", fill=1))
    library.add(expert("other"))

    def work():
        monkeypatch.setattr(at, die)
        library.add(expert(name, fill=2), overwrite=True)

    in_a_child_that_dies(work)
    fills = {e.name: e.factors["m.up"].A_RI.unique().tolist() for e in library.load() if e.name != "other"}
    assert fills.items() <= {"x": [1.0], "new": [2.0]}.items() or fills == {"x": [2.0]}
    library.add(expert("next"))  # the next write tidies up
    assert {"x", "next", "other"} <= set(library) and library.verify() == []
    assert all(not p.name.startswith(".") or p.name == ".lock" for p in library.path.iterdir())


def test_a_writer_killed_between_the_two_renames_loses_nothing(library, monkeypatch):
    library.add(expert("x", fill=1))
    rename, count = os.rename, []

    def second_kills(*arguments, **keywords):
        count.append(1)
        die() if len(count) == 2 else rename(*arguments, **keywords)

    def work():
        monkeypatch.setattr(os, "rename", second_kills)
        library.add(expert("x", fill=2), overwrite=True)

    in_a_child_that_dies(work)
    assert list(library) == [] and [p for p in library.verify() if "killed" in p.what]
    library.add(expert("y"))
    assert library["x"].factors["m.up"].A_RI.unique().tolist() == [1.0] and library.verify() == []


def test_a_remover_that_is_killed_leaves_a_library_that_loads(library, monkeypatch):
    library.add(expert("x"))
    library.add(expert("y"))

    def work():
        monkeypatch.setattr("shutil.rmtree", die)
        library.remove("x")

    in_a_child_that_dies(work)
    assert list(library) == ["y"] and len(library.verify()) == 1
    library.add(expert("z"))
    assert list(library) == ["y", "z"] and library.verify() == []


def test_hidden_folders_of_others_are_left_alone(library):
    library.add(expert("x"))
    for name in (".git", ".cache.abcdefgh", ".x.short"):
        (library.path / name).mkdir()
        (library.path / name / "file").write_text("keep")
    library.add(expert("y"))
    assert [(library.path / n / "file").read_text() for n in (".git", ".cache.abcdefgh", ".x.short")] == ["keep"] * 3


def _add_twenty(path, who, ready, results):
    library = Library(path)
    torch.manual_seed(who)
    made = [expert(f"p{who}-{i}", fill=who) for i in range(20)]
    ready.wait()
    taken = 0
    for i, one in enumerate(made):
        library.add(one)
        try:
            library.add(expert(f"both-{i}", fill=who))
        except Invalid:
            taken += 1
    results.put((who, taken))


def test_two_processes_adding_at_once_lose_nothing(library):
    spawn = multiprocessing.get_context("spawn")
    ready, results = spawn.Barrier(2), spawn.Queue()
    processes = [spawn.Process(target=_add_twenty, args=(library.path, who, ready, results)) for who in (1, 2)]
    for process in processes:
        process.start()
    taken = dict(results.get(timeout=120) for _ in processes)
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert len(library) == 60 and sum(taken.values()) == 20  # each shared name went to exactly one of them
    assert library.verify() == []
    for e in library.load():
        (fill,) = {float(x) for f in e.factors.values() for t in f[:2] for x in t.unique()}
        assert fill in (1.0, 2.0) if e.name.startswith("both") else fill == float(e.name[1])


def test_a_reader_never_sees_half_of_a_replacement(library):
    versions = {fill: expert(fill=fill, rank=fill, training={"step": fill}) for fill in (1, 2)}
    library.add(versions[1])
    done = threading.Event()

    def replace():
        for i in range(30):
            library.add(versions[2 - i % 2], overwrite=True)
        done.set()

    writer = threading.Thread(target=replace)
    writer.start()
    seen = []
    while not done.is_set() or len(seen) < 2:
        e = library["x"]
        (fill,) = {float(x) for f in e.factors.values() for t in f[:2] for x in t.unique()}
        assert fill == e.card["training"]["step"] == e.card["rank"] == e.rank
        seen.append(fill)
    writer.join()
    assert len(seen) > 10 and library.verify() == []


# What is on disk and wrong


def damage_truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def damage_flip(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def damage_nan(path):
    content = bytearray(path.read_bytes())
    content[-4:] = b"\x00\x00\xc0\x7f"
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("file", "damage", "says"),
    [
        ("adapter_model.safetensors", damage_truncate, "not a readable safetensors"),
        ("adapter_model.safetensors", lambda p: p.write_bytes(b""), "not a readable safetensors"),
        ("adapter_model.safetensors", lambda p: p.write_bytes(b"\xff" * 64), "not a readable safetensors"),
        ("adapter_model.safetensors", damage_flip, "sha256"),
        ("adapter_model.safetensors", damage_nan, "lora_.*weight holds NaN"),
        ("adapter_model.safetensors", lambda p: p.unlink(), "is missing"),
        ("adapter_config.json", damage_truncate, "not valid JSON"),
        ("adapter_config.json", lambda p: p.write_text("[]"), "not a JSON object"),
        ("adapter_config.json", lambda p: p.unlink(), "is missing"),
        ("adapter_config.json", lambda p: p.write_text(p.read_text().replace('"r": 2', '"r": 3')), "lora_A.weight is"),
        ("expert.json", damage_truncate, "not valid JSON"),
        ("expert.json", lambda p: p.write_bytes(b"\xff\xfe"), "not valid JSON"),
        ("expert.json", lambda p: p.unlink(), "is missing"),
        ("expert.json", lambda p: p.write_text('{"name": "y"}'), "does not say base"),
        ("README.md", lambda p: p.unlink(), "is missing"),
    ],
)
def test_verify_finds_it_and_names_the_file(library, file, damage, says):
    import re

    library.add(expert("fine"))
    library.add(expert("x"))
    assert library.verify() == []
    damage(library.path / "x" / file)
    result = library.verify()
    assert result and all(p.file.parent == library.path / "x" for p in result)
    assert any(re.search(says, p.what) for p in result), result
    blamed = "adapter_model.safetensors" if "lora_A" in says else file
    assert all(p.file.name == blamed and str(p).startswith(str(p.file)) for p in result), result
    assert library["fine"].name == "fine"
    library.add(expert("x"), overwrite=True)
    assert library.verify() == []


def test_loading_a_damaged_expert_names_the_file(library):
    library.add(expert("x"))
    damage_truncate(library.path / "x" / "adapter_model.safetensors")
    with pytest.raises(Corrupt, match="x/adapter_model.safetensors is not a readable"):
        library["x"]
    library.add(expert("y"))
    (library.path / "y" / "expert.json").unlink()
    with pytest.raises(Corrupt, match="y/expert.json is missing"):
        library.load(["y"])
    assert library.load([]) == [] and list(library) == ["x", "y"]


def test_verify_finds_a_folder_that_holds_no_expert_and_a_renamed_one(library):
    library.add(expert("x"))
    (library.path / "x").rename(library.path / "y")
    (library.path / "empty").mkdir()
    assert [(p.file.name, p.what) for p in library.verify()] == [
        ("empty", "a folder that holds no expert"),
        ("expert.json", "says the name is 'x', and the folder is 'y'"),
    ]
    assert library["y"].name == "y"


def test_a_card_is_json_for_any_reader(library):
    library.add(expert("数学", task="数学"))
    text = (library.path / "数学" / "expert.json").read_text(encoding="utf-8")
    assert json.loads(text)["task"] == ["数学"] and "数学" in text


def test_only_pickles_there_is_refused(library):
    library.add(expert("x"))
    (library.path / "x" / "adapter_model.safetensors").rename(library.path / "x" / "adapter_model.bin")
    with pytest.raises(Refused, match=r"adapter_model.bin is a pickle"):
        library["x"]


# Into a model


def test_a_library_stands_in_a_model_as_the_experts_did(library, llama, experts):
    made = experts(llama, 3, rank=[2, 4, 3])
    x = torch.randint(3, 100, (2, 7))
    banks = attach(llama, made, Uniform())
    wanted = llama(x).logits
    banks.detach()
    for e in made:
        library.add(e)
    banks = attach(llama, library.load(), Uniform())
    torch.testing.assert_close(llama(x).logits, wanted, rtol=0, atol=0)
    assert banks.tasks == ["task_a", "task_b", "task_c"]


def test_training_on_loaded_factors_leaves_the_file_alone(library):
    library.add(expert("x"))
    before = on_disk(library)
    loaded = library["x"]
    loaded.factors["m.up"].A_RI.zero_()
    assert on_disk(library) == before and library["x"].factors["m.up"].A_RI.any()


def test_an_expert_in_use_survives_its_removal(library):
    kept = expert("x")
    library.add(kept)
    loaded = library["x"]
    library.remove("x")
    same(kept, loaded)


def test_files_are_written_for_others_to_read(library):
    library.add(expert("x"))
    assert (library.path / "x").stat().st_mode & 0o777 == 0o755
    assert all(p.stat().st_mode & 0o044 == 0o044 for p in (library.path / "x").iterdir())
    assert files.read_json(library.path / "x" / "adapter_config.json")["peft_type"] == "LORA"


def test_originals_are_not_made_of_others_that_are_here(library):
    for name in "ab":
        library.add(expert(name))
    made = {"merge": "svd"}, {"fold": {}}, {"subtract": "a"}, {"merge": "cat", "search": {}}
    for number, recipe in enumerate(made):
        library.add(expert(f"made{number}", parents=["a", "b"], training=recipe))
    library.add(expert("foreign", parents=["a", "elsewhere"], training={"merge": "svd"}))
    library.add(expert("further", parents=["a"], training={"max_steps": 3}))
    assert library.originals() == ["a", "b", "foreign", "further"]
