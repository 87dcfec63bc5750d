"""Files that are either whole or not there: written under another name, synced, then renamed."""

import fcntl
import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeGuard

from yosegi import untrusted
from yosegi.errors import Corrupt, Invalid


def write(path: Path, content: str | bytes) -> None:
    """Writes one file atomically. A full disk leaves the old file as it was."""
    with new_file(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """Opens a file for writing that appears at `path` only when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    fcntl.flock(handle, fcntl.LOCK_EX)  # which ends with the process: see `tidy`
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Writes one JSON file atomically."""
    write(path, dumped(value))


def dumped(value: Any) -> str:
    """Returns a value as the text of a JSON file."""
    return json.dumps(value, ensure_ascii=False, indent=1) + "\n"


def read_json(path: Path) -> Any:
    """Returns the content of one JSON file; one that is damaged, or more than a reader should take, is named."""
    if not path.is_file() and path.exists():
        raise Corrupt(f"{path} is not a file.")
    if (size := path.stat().st_size) > untrusted.BYTES:
        raise Corrupt(f"{path} has {size:,} bytes; up to {untrusted.BYTES:,} are read.")
    try:
        return untrusted.read_json(path.read_bytes(), str(path))
    except Corrupt as error:
        raise Corrupt(f"{error} Restore it or delete it.") from error


def sha256(path: Path) -> str:
    """Returns the sha256 of one file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_finite(value: object) -> TypeGuard[float]:
    """Returns whether a value of a JSON file is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Returns the rows of a JSONL file. Half a last line, of a killed process, is ignored; any other bad line is an error."""
    rows: list[dict[str, Any]] = []
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            rows.append(json.loads(line.decode()))
        except (ValueError, RecursionError) as error:
            if number == len(lines):  # no newline after it: the write was cut off
                break
            raise Corrupt(f"{path}, line {number}, is not valid JSON ({error}).") from error
    return rows


def lines(rows: Iterable[Any]) -> str:
    """Returns rows as JSONL.

    Raises:
        Invalid: a row holds NaN or infinity, which JSON does not know.
    """
    try:
        return "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
    except ValueError as error:
        raise Invalid(f"A number that is not finite is not written down ({error}).") from error


def append(file: BinaryIO, rows: Iterable[dict[str, Any]], *, sync: bool = False) -> None:
    """Adds rows to a JSONL file that is open for "ab+" and that no other process writes to meanwhile.

    Half a line at its end, of a killed process, is cut off.
    """
    text = lines(rows)
    file.seek(0, os.SEEK_END)
    if file.tell() and file.seek(-1, os.SEEK_END) is not None and file.read() != b"\n":
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
    file.write(text.encode())
    if sync:
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Makes a folder that appears at `path` only when the block ends without an error, and replaces what was there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    alive = os.open(temporary, os.O_RDONLY)
    fcntl.flock(alive, fcntl.LOCK_EX)
    try:
        yield temporary
        for file in filter(Path.is_file, temporary.rglob("*")):
            with file.open("rb") as handle:
                os.fsync(handle.fileno())
        temporary.chmod(0o755)
        if path.exists():  # two renames; a kill between them leaves the old folder under a dotted name, nothing half
            old = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.old."))
            path.rename(old / path.name)
            temporary.rename(path)
            shutil.rmtree(old, ignore_errors=True)
        else:
            temporary.rename(path)
    finally:
        os.close(alive)
        shutil.rmtree(temporary, ignore_errors=True)


def remove_folder(path: Path) -> None:
    """Deletes a folder. It is renamed first, in one step, so that a process killed here leaves no half of it."""
    path.rename(gone := Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.")))
    shutil.rmtree(gone)


def strays(folder: Path, parts: tuple[str, ...] = ("",)) -> list[Path]:
    """Returns what a killed writer left in a folder: folders as `new_folder` and `remove_folder` name theirs.

    Args:
        folder: the folder that was written to.
        parts: how the names of the files begin that such a folder may have; a folder with any other file is left out.
    """
    begin = (*parts, *(f".{part}." for part in parts))
    return [
        path
        for path in sorted(folder.glob(".*"))
        if re.fullmatch(r"\..+\.[a-z0-9_]{8}", path.name) and path.is_dir() and not path.is_symlink()
        and all(i.name.startswith(begin) or path.name.startswith(f".{i.name}.old.") for i in path.iterdir())
    ]  # fmt: skip


def sweep(folder: Path, parts: tuple[str, ...] = ("",)) -> None:
    """Deletes the `strays` of a folder, and restores what was being replaced. Needs the writer's lock."""
    for path in strays(folder, parts):
        _restore(path)


def tidy(*folders: Path) -> None:
    """Deletes what killed writers left in these folders, files too, and restores what was being replaced.

    Needs no lock: who writes holds one on what is unfinished, and a dead process holds none.
    """
    for folder in folders:
        for path in sorted(folder.glob(".*.????????")) if folder.is_dir() else ():
            if not re.fullmatch(r"\..+\.[a-z0-9_]{8}", path.name) or path.is_symlink():
                continue
            with suppress(OSError):
                handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    if time.time() - os.fstat(handle).st_mtime < 1:  # it may have been made this moment
                        continue
                    if path.is_dir():
                        _restore(path)
                    else:
                        path.unlink()
                finally:
                    os.close(handle)


def _restore(stray: Path) -> None:
    """Deletes a folder that a killed writer left; what it was about to replace goes back if nothing has taken its place."""
    for old in stray.iterdir():
        if ".old." in stray.name and not os.path.lexists(stray.parent / old.name):
            old.rename(stray.parent / old.name)
    shutil.rmtree(stray)
