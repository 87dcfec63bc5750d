"""Experts, libraries and exports go to a Hub and come back as they were; what is refused is one line and leaves nothing."""

import os
import signal
import time

import pytest

from tests.conftest import each
from yosegi.engine.arm import Arm
from yosegi.engine.kept import load_arm, save_arm
from yosegi.errors import Corrupt, Invalid, NoData, WrongBase
from yosegi.exporting import export
from yosegi.exporting.hub import pull, push
from yosegi.library.store import Library


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


@pytest.fixture
def library(tiny, library_of):
    """Experts a and b of llama@0123, and an arm that the library keeps."""
    library = library_of(tiny())
    save_arm(library, Arm.weighted("kept", library.load(), [0.7, 0.3]))
    return library


def test_a_library_with_its_arms_comes_back_as_it_was(library, hub, tmp_path):
    about = push(library.path, "me/lib")
    assert hub.repos["me/lib"]["private"] and about["commit"] == hub.sha("me/lib") and about["kind"] == "library"
    assert "| a | task_a | 4 |" in hub.repos["me/lib"]["files"]["README.md"].decode()
    came = pull("me/lib", tmp_path / "again")
    assert came["names"] == ["a", "b"] and came["left_out"] == []
    assert contents(tmp_path / "again") == contents(library.path)
    assert load_arm(Library(tmp_path / "again"), "kept").weights == [0.7, 0.3]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again", "library"]


def test_what_is_there_is_not_sent_again(library, hub):
    push(library.path / "a", "me/a", public=True)
    uploads = [path for method, path in hub.sent() if method == "PUT"]
    assert len(uploads) == 1 and not hub.repos["me/a"]["private"]
    push(library.path / "a", "me/a")
    assert [path for method, path in hub.sent() if method == "PUT"] == uploads


def test_a_push_that_broke_off_sends_the_rest(library, hub):
    hub.die = 2  # of three files of weights
    with pytest.raises(NoData, match="The Hub"):
        push(library.path, "me/lib")
    assert hub.repos["me/lib"]["files"] == {} and len(hub.blobs) == 2
    hub.die, before = None, len(hub.asked)
    push(library.path, "me/lib")
    assert len([1 for method, _ in hub.asked[before:] if method == "PUT"]) == 1
    assert "arms/kept/state.safetensors" in hub.repos["me/lib"]["files"]


def test_a_dry_run_sends_nothing(library, hub):
    about = push(library.path, "me/lib", dry_run=True)
    assert hub.asked == [] and not about["sent"]
    sizes = {one["path"]: one["size"] for one in about["files"]}
    assert sizes["a/adapter_model.safetensors"] == (library.path / "a" / "adapter_model.safetensors").stat().st_size
    assert "arms/kept/arm.json" in sizes and ".lock" not in sizes


@each("form, size", [("peft", 5), ("hf", 7)])
def test_an_export_comes_back_as_it_was(form, size, tiny, library_of, hub, tmp_path):
    if not (tmp_path / "library").exists():
        tmp_path.joinpath("base").mkdir()
        base = tiny()
        library_of(base)
        tiny.base = base
    export(
        "a",
        out := tmp_path / form,
        form,
        base=tiny.base,
        library=tmp_path / "library",
        **({"dtype": "fp32"} if form == "hf" else {}),
    )
    assert len(push(out, f"me/{form}")["files"]) >= size
    assert pull(f"me/{form}", tmp_path / f"{form}2")["kind"] == "export"
    assert contents(tmp_path / f"{form}2") == contents(out)
    with pytest.raises(Invalid, match="is there already"):
        pull(f"me/{form}", tmp_path / f"{form}2")
    pull(f"me/{form}", tmp_path / f"{form}2", overwrite=True)


def test_an_expert_may_get_another_name_and_replaces_nothing_unasked(library, hub, tmp_path):
    push(library.path / "a", "me/a")
    with pytest.raises(Invalid, match="has a already"):
        pull("me/a", library.path)
    assert pull("me/a", library.path, name="c")["names"] == ["c"]
    assert pull("me/a", library.path, overwrite=True)["names"] == ["a"]
    assert sorted(library) == ["a", "b", "c"] and library.verify() == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["library"]


def test_an_expert_of_another_base_is_refused(library, hub, tmp_path):
    push(library.path, "me/lib")
    with pytest.raises(WrongBase, match=r"'a' was trained beside llama@0123; this is nano@"):
        pull("me/lib", tmp_path / "again", base="nano")
    other = Library(tmp_path / "other", "ffff", "gemma")
    from dataclasses import replace

    one = library["a"]
    other.add(replace(one, name="mine", card={**one.card, "base": "gemma", "base_hash": "ffff"}))
    with pytest.raises(WrongBase, match="this is gemma@ffff"):
        pull("me/lib", tmp_path / "other")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["library", "other"] and list(other) == ["mine"]


def test_only_what_is_ours_is_fetched(library, hub, tmp_path):
    push(library.path, "me/lib")
    evil = {
        "a/pytorch_model.bin": b"pickle",
        "run.py": b"import os",
        ".gitattributes": b"",
        "../up.json": b"{}",
        "b/x.json": b"{}",
    }
    hub.repos["me/lib"]["files"] |= evil
    came = pull("me/lib", tmp_path / "again")
    assert came["left_out"] == ["../up.json", "a/pytorch_model.bin", "b/x.json", "run.py"]
    assert contents(tmp_path / "again") == contents(library.path)
    assert not any(name in path for method, path in hub.asked if method == "GET" and "resolve" in path for name in evil)


@each("change, words", [
    (lambda files: files.update({"a/expert.json": files["b/expert.json"]}), "says the name is 'b'"),
    (lambda files: files.pop("b/adapter_config.json"), "is missing"),
    (lambda files: files.update({"a/adapter_model.safetensors": files["b/adapter_model.safetensors"]}), "is not what was written|do not fit|is \\["),
    (lambda files: files.update({"arms/kept/arm.json": files["arms/kept/arm.json"].replace(b'"a"', b'"x"')}), "'x'"),
    (lambda files: [files.pop(name) for name in list(files) if name.endswith("expert.json")], "no expert, no library and no export"),
])  # fmt: skip
def test_what_is_damaged_is_not_moved_in(change, words, library, hub, tmp_path):
    hub.repos.clear()
    push(library.path, "me/lib")
    change(hub.repos["me/lib"]["files"])
    with pytest.raises((Corrupt, NoData), match=words):
        pull("me/lib", tmp_path / "again")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["library"]


def test_a_file_that_is_not_what_the_hub_lists(library, hub, tmp_path, monkeypatch):
    push(library.path / "a", "me/a")
    monkeypatch.setattr(
        hub, "known", lambda path, content: ("0" * 40, "1" * 64 if path.endswith("safetensors") else None)
    )
    with pytest.raises((Corrupt, NoData)):
        pull("me/a", tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_what_the_hub_refuses_is_one_line_without_the_token(library, hub, tmp_path, monkeypatch):
    for call in (lambda: pull("me/none", tmp_path / "again"), lambda: pull("a b/c", tmp_path / "again")):
        with pytest.raises((NoData, Invalid), match=r"no repository me/none|cannot be the name") as error:
            call()
        assert "\n" not in str(error.value)
    push(library.path / "a", "me/a")
    monkeypatch.setenv("HF_TOKEN", "wrong-token")
    for call in (lambda: push(library.path, "me/lib"), lambda: pull("me/a", tmp_path / "again")):
        with pytest.raises(NoData, match="does not accept the token") as error:
            call()
        assert "wrong-token" not in str(error.value) and "\n" not in str(error.value)
    (library.path / "a" / "adapter_model.safetensors").write_bytes(b"short")
    with pytest.raises(Corrupt, match=r"\(and \d more\)|adapter_model"):
        push(library.path, "me/lib")
    with pytest.raises(NoData, match="holds no expert"):
        push(tmp_path / "nowhere", "me/lib")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(NoData, match="cannot be reached"):
        pull("me/a", tmp_path / "again")


def test_a_pull_that_was_killed_goes_on(library, hub, tmp_path):
    """Killed in the middle of a file, the same command fetches that file, and none that had come."""
    push(library.path, "me/lib")
    hub.cut, count = 2000, len(contents(library.path))
    child = os.fork()
    if child == 0:
        try:
            pull("me/lib", tmp_path / "again")
        finally:
            os._exit(0)
    until = time.monotonic() + 60
    while sum(1 for _ in tmp_path.glob(".again.*/.cache/**/*.metadata")) < count - 1:  # written once a file has come
        assert time.monotonic() < until and os.waitpid(child, os.WNOHANG) == (0, 0)
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    hub.hold.set()
    before = len(hub.asked)
    assert not (tmp_path / "again").exists()
    assert pull("me/lib", tmp_path / "again")["names"] == ["a", "b"]
    assert len([1 for method, path in hub.asked[before:] if method == "GET" and "/resolve/" in path]) == 1
    assert contents(tmp_path / "again") == contents(library.path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again", "library"]
