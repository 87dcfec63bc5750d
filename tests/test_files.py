"""Whole or not there: under a full disk, under a kill, and when half a line was written."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from yosegi import files
from yosegi.errors import Corrupt
from yosegi.run import Run

ROOT = Path(__file__).parents[1]


def full_disk(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("content", ["text ¥ 寄木\r\n", b"\x00\xff bytes", ""])
def test_write(tmp_path, content):
    path = tmp_path / "new" / "folder" / "file"
    files.write(path, content)
    assert path.read_bytes() == (content if isinstance(content, bytes) else content.encode())
    assert [p.name for p in path.parent.iterdir()] == ["file"]
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch, failing):
    path = tmp_path / "file"
    files.write(path, "old")
    monkeypatch.setattr(*((os, "fsync") if failing == "fsync" else (Path, "replace")), full_disk)
    with pytest.raises(OSError, match="No space left"):
        files.write(path, "new")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_disk_that_fills_up_in_the_middle(tmp_path, monkeypatch):
    path, fdopen = tmp_path / "file", os.fdopen
    files.write(path, "old")

    def filling(*args):
        file = fdopen(*args)

        class Filling:
            def __enter__(self):
                return self

            def __exit__(self, *_):
                file.close()

            def write(self, content):
                file.write(content[: len(content) // 2])
                full_disk()

        return Filling()

    monkeypatch.setattr(os, "fdopen", filling)
    with pytest.raises(OSError, match="No space left"):
        files.write(path, "something new and long")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def run_until(program, place):
    """Start a process that kills itself with SIGKILL at a chosen place."""
    header = "import os, signal, sys; from pathlib import Path; from yosegi import files\n"
    header += "def die(*_): os.kill(os.getpid(), signal.SIGKILL)\n"
    done = subprocess.run([sys.executable, "-c", header + program, str(place)], cwd=ROOT)
    assert done.returncode == -signal.SIGKILL


def test_a_kill_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    files.write(path, "old")
    run_until("os.fsync = die; files.write(Path(sys.argv[1]), 'new' * 10000)", path)
    assert path.read_text() == "old"
    assert all(p == path or p.name.startswith(".file.") for p in tmp_path.iterdir())


def test_a_kill_leaves_the_old_folder(tmp_path):
    folder = tmp_path / "expert"
    with files.new_folder(folder) as new:
        (new / "a").write_text("old")
    run_until("with files.new_folder(Path(sys.argv[1])) as new: (new / 'a').write_text('new'); die()", folder)
    assert (folder / "a").read_text() == "old"
    run_until("os.fsync = die\nwith files.new_folder(Path(sys.argv[1])) as new: (new / 'a').write_text('new')", folder)
    assert (folder / "a").read_text() == "old"
    assert all(p == folder or p.name.startswith(".expert.") for p in tmp_path.iterdir())


def test_json_there_and_back(tmp_path):
    value = {"名": ["é", 1.5, None, True], "b": {}}
    files.write_json(tmp_path / "a.json", value)
    assert files.read_json(tmp_path / "a.json") == value
    assert "名" in (tmp_path / "a.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("content", [b'{"a": 1', b"", b'{"a": "\xff"}', b"nonsense"])
def test_bad_json_is_named(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(Corrupt, match=r"a\.json is not valid JSON .* Restore it or delete it"):
        files.read_json(path)


def test_what_is_not_json_is_not_written(tmp_path):
    files.write_json(tmp_path / "a.json", 1)
    with pytest.raises(TypeError):
        files.write_json(tmp_path / "a.json", {"a": object()})
    assert files.read_json(tmp_path / "a.json") == 1 and len(list(tmp_path.iterdir())) == 1


ROWS = [{"a": 1, "s": "寄木"}, {"a": 2, "s": "x\u2028y"}]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS).encode()


@pytest.mark.parametrize("cut", range(1, 25))
def test_half_a_last_line_is_forgiven_wherever_it_was_cut(tmp_path, cut):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(LINES + json.dumps({"a": 3, "s": "寄木細工"}, ensure_ascii=False).encode()[:cut])
    assert files.read_jsonl(path) == ROWS


@pytest.mark.parametrize("content", [LINES, LINES[:-1], b"\n" + LINES + b"\n\n", LINES.replace(b"\n", b"\r\n")])
def test_jsonl(tmp_path, content):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    assert files.read_jsonl(path) == ROWS


def test_an_empty_jsonl(tmp_path):
    (tmp_path / "rows.jsonl").touch()
    assert files.read_jsonl(tmp_path / "rows.jsonl") == []


@pytest.mark.parametrize("bad", [b'{"a": 1', b"x", b'{"a": "\xe5\xaf"}', b'{"a": 1}{"a": 2}'])
@pytest.mark.parametrize("after", [LINES, b""])
def test_any_other_bad_line_is_named_with_its_number(tmp_path, bad, after):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(LINES + bad + b"\n" + after)
    with pytest.raises(Corrupt, match=r"rows\.jsonl, line 3, is not valid JSON"):
        files.read_jsonl(path)


def fill(folder, **contents):
    with files.new_folder(folder) as new:
        assert new.parent == folder.parent and new.name != folder.name
        for name, text in contents.items():
            (new / name).write_text(text)


def test_a_new_folder_replaces_the_old_one_whole(tmp_path):
    folder = tmp_path / "deep" / "expert"
    fill(folder, a="1", b="2")
    fill(folder, a="3")
    assert {p.name: p.read_text() for p in folder.iterdir()} == {"a": "3"}
    assert list(folder.parent.iterdir()) == [folder]
    assert folder.stat().st_mode & 0o777 == 0o755


def test_a_new_folder_with_folders_in_it(tmp_path):
    with files.new_folder(tmp_path / "run") as new:
        (new / "items").mkdir()
        (new / "items" / "a").write_text("1")
    assert (tmp_path / "run" / "items" / "a").read_text() == "1"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_block_that_ends_badly_changes_nothing(tmp_path, error):
    folder = tmp_path / "expert"
    fill(folder, a="old")
    with pytest.raises(error), files.new_folder(folder) as new:
        (new / "a").write_text("new")
        raise error
    assert (folder / "a").read_text() == "old" and list(tmp_path.iterdir()) == [folder]


def test_a_full_disk_changes_no_folder(tmp_path, monkeypatch):
    folder = tmp_path / "expert"
    fill(folder, a="old")
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        fill(folder, a="new")
    assert (folder / "a").read_text() == "old" and list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize("sync", [False, True])
def test_append_cuts_off_half_a_line(tmp_path, sync):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": 1}\n{"a": 2, "half')
    for row in ({"a": "寄木"}, {"a": 4}):
        with path.open("ab+") as file:
            files.append(file, [row], sync=sync)
    assert [row["a"] for row in files.read_jsonl(path)] == [1, "寄木", 4]


def test_append_when_there_is_nothing_but_half_a_line(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"half')
    with path.open("ab+") as file:
        files.append(file, [{"a": 1}, {"a": 2}])
    assert path.read_text() == '{"a": 1}\n{"a": 2}\n'


def test_a_new_file_is_there_whole_or_not_at_all(tmp_path):
    path = tmp_path / "deep" / "a.jsonl"
    with files.new_file(path) as file:
        file.write(b"one\n")
        assert not path.exists()
        file.write(b"two\n")
    assert path.read_bytes() == b"one\ntwo\n"
    with pytest.raises(RuntimeError), files.new_file(path) as file:
        file.write(b"half")
        raise RuntimeError
    assert path.read_bytes() == b"one\ntwo\n" and list(path.parent.iterdir()) == [path]


def killed_while(act):
    """A process that is killed in the middle of writing."""
    ready, child = os.pipe(), os.fork()
    if child == 0:
        act(lambda: (os.write(ready[1], b"x"), time.sleep(60)))
        os._exit(0)
    os.read(ready[0], 1)
    return child


def writes(path):
    def act(stop):
        with files.new_file(path) as file:
            file.write(b"half")
            stop()

    return act


def fills(path):
    def act(stop):
        with files.new_folder(path) as new:
            (new / "part").write_text("half")
            stop()

    return act


def replaces(path):
    def act(stop):
        real = Path.rename
        Path.rename = lambda self, to: (
            (stop(), real(self, to)) if self.name.startswith(f".{path.name}.") else real(self, to)
        )
        with files.new_folder(path) as new:
            (new / "part").write_text("new")

    return act


def age(folder):
    for path in folder.glob(".*"):
        os.utime(path, (1, 1))


@pytest.mark.parametrize("how", [writes, fills, replaces])
def test_what_a_killed_writer_left_is_swept_and_what_a_living_one_writes_is_not(tmp_path, how):
    fill(tmp_path / "other", part="old")
    before = sorted(tmp_path.rglob("*"))
    child = killed_while(how(tmp_path / ("state.json" if how is writes else "other")))
    try:
        during = sorted(tmp_path.rglob("*"))
        age(tmp_path)
        if how is not replaces:  # the old folder's shelter is held by nobody, and lives for a moment
            files.tidy(tmp_path, tmp_path / "missing")
        assert sorted(tmp_path.rglob("*")) == during and len(during) > len(before)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    (tmp_path / ".mine").write_text("not a writer's")
    (tmp_path / ".notes.abcdefgh").symlink_to(tmp_path)
    age(tmp_path)
    Run(tmp_path, {})
    (tmp_path / ".mine").unlink()
    (tmp_path / ".notes.abcdefgh").unlink()
    assert {path.name for path in tmp_path.iterdir()} == {"other", "config.json", "env.json"}
    assert (tmp_path / "other" / "part").read_text() == "old"
