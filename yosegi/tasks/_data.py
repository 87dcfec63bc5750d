"""Where rows come from: a local folder first, then the Hugging Face Hub, else one line that says what to fetch.

The folder is `--data DIR`, `$YOSEGI_DATA` or `../shared/data`, whichever comes first; it holds JSON Lines, plain or
gzipped, and its README has the schema. A `Hub` says where the same rows lie online and how a row there becomes a row here.
"""

import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from yosegi.errors import Corrupt, Invalid, NoData

Row = dict[str, Any]

NEIGHBOUR = Path("..") / "shared" / "data"


@dataclass(frozen=True)
class Hub:
    """A data set on the Hub, pinned, and the small function that turns its n-th row into ours (None: leave it out)."""

    repo: str
    split: str
    row: Callable[[int, Row], Row | None]
    config: str | None = None
    revision: str | None = None
    files: str | None = None  # one file or pattern of a repository too large to fetch whole


def folder() -> Path | None:
    """The data folder of this process, or None. One that was asked for by name has to be there."""
    given = os.environ.get("YOSEGI_DATA")
    if given:
        return _existing(Path(given))
    return NEIGHBOUR if NEIGHBOUR.is_dir() else None


def set_folder(path: str | Path) -> None:
    """Make `path` the data folder of this process and of those it starts (the `--data DIR` option)."""
    os.environ["YOSEGI_DATA"] = str(_existing(Path(path)).resolve())


def rows(name: str, hub: Hub | None = None, what: str = "") -> list[Row]:
    """The rows of `name`, a path inside the folder: `math_en/gsm8k_test` or with .jsonl or .jsonl.gz, all the same.

    Rows are read once and shared by all who ask, so they are for reading. `what` names the data in messages.
    """
    stem = name.removesuffix(".gz").removesuffix(".jsonl")
    here = folder()
    for path in [here / f"{stem}{end}" for end in (".jsonl", ".jsonl.gz")] if here else []:
        if path.is_file():
            return list(_read(path.resolve(), path.stat().st_mtime_ns))
    what = what or stem
    if hub is None:
        raise NoData(f"{what} is not here: {_wanted(stem, here)}.")
    try:
        return list(_fetch(hub))
    except Exception as error:  # offline, no route, gated, moved, not in the cache: the Hub has a class for each
        raise NoData(
            f"{what} is not here and {hub.repo} could not be read from the Hugging Face Hub ({_short(error)}): "
            f"{_wanted(stem, here)}, or go online."
        ) from error


def lines(path: Path) -> Iterator[tuple[int, Row]]:
    """Each row of a JSON Lines file with its line number. A damaged file is named, with the line."""
    number = 0
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8-sig")
            if path.suffix == ".gz"
            else path.open(encoding="utf-8-sig") as file
        ):
            for number, line in enumerate(file, 1):
                if line.strip():
                    row = json.loads(line)
                    if not isinstance(row, dict):
                        raise ValueError("a row is one JSON object in braces")
                    yield number, row
    except UnicodeDecodeError as error:
        raise Corrupt(f"{path} is not UTF-8 text (after line {number}).") from error
    except (ValueError, RecursionError) as error:
        raise Corrupt(f"{path}, line {number}, is not a valid row ({_short(error)}).") from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise Corrupt(f"{path} is a damaged gzip file (after line {number}): {_short(error)}.") from error


def hashed(text: str) -> int:
    """A number that is the same on every machine and in every process, unlike `hash`."""
    return int.from_bytes(hashlib.sha1(text.encode(), usedforsecurity=False).digest()[:8], "big")


def carve(rows: list[Row], count: int) -> tuple[list[Row], list[Row]]:
    """Cut a validation set out of rows: the `count` (at most a fifth) whose ids hash highest. Both keep their order."""
    count = min(count, len(rows) // 5)
    kept = {row["id"] for row in sorted(rows, key=lambda row: hashed(row["id"]))[: len(rows) - count]}
    return [row for row in rows if row["id"] in kept], [row for row in rows if row["id"] not in kept]


@lru_cache(maxsize=64)
def _read(path: Path, modified: int) -> tuple[Row, ...]:
    found = tuple(row for _, row in lines(path))
    if not found:
        raise Invalid(f"{path} is empty.")
    return found


@lru_cache(maxsize=64)
def _fetch(hub: Hub) -> tuple[Row, ...]:
    from datasets import load_dataset  # two seconds and a network stack: only for those who need the Hub

    files = {hub.split: hub.files} if hub.files else None
    fetched = load_dataset(hub.repo, hub.config, data_files=files, split=hub.split, revision=hub.revision)
    return tuple(row for number, raw in enumerate(fetched) if (row := hub.row(number, raw)) is not None)


def _existing(path: Path) -> Path:
    if not path.is_dir():
        raise NoData(
            f"The data folder {str(path)!r} does not exist. Point --data or YOSEGI_DATA at a folder of JSONL files."
        )
    return path


def _wanted(stem: str, here: Path | None) -> str:
    if here:
        return f"put {stem}.jsonl into the data folder {str(here)!r}"
    return f"set YOSEGI_DATA or --data to a folder with {stem}.jsonl"


def _short(error: BaseException) -> str:
    text = str(error).strip().split("\n")[0]
    return (text[:160] + "…" if len(text) > 160 else text) or type(error).__name__
