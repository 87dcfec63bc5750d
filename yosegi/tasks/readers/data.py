"""Where rows come from: a local folder first, then the Hugging Face Hub, else one line that says what to fetch.

The folder is `--data DIR`, `$YOSEGI_DATA` or `../shared/data`, whichever comes first; it holds JSON Lines, plain or
gzipped, and its README has the schema. A `Hub` says where the same rows lie online and how one there becomes one here.
"""

import gzip
import hashlib
import json
import os
import socket
import urllib.request
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from yosegi.errors import Corrupt, Invalid, NoData

Row = dict[str, Any]

NEIGHBOUR = Path("..") / "shared" / "data"
HUB = "https://huggingface.co"


@dataclass(frozen=True)
class Hub:
    """A data set on the Hub, pinned, and the small function that turns its n-th row into ours.

    Without `files` the repository is loaded the usual way (`config`, `split`). With it, only the files of that name or
    pattern are fetched: a .jsonl gives its fields, anything else a row {"text": …} a line.
    """

    repo: str
    revision: str
    row: Callable[[int, Row], Row]
    split: str = "train"
    config: str | None = None
    files: str | None = None


def folder() -> Path | None:
    """The data folder of this process, or None. One that was asked for by name has to be there."""
    given = os.environ.get("YOSEGI_DATA")
    if given:
        return _existing(Path(given).expanduser())
    return NEIGHBOUR if NEIGHBOUR.is_dir() else None


def set_folder(path: str | Path) -> None:
    """Make `path` the data folder of this process and of those it starts (the `--data DIR` option)."""
    os.environ["YOSEGI_DATA"] = str(_existing(Path(path).expanduser()).resolve())


def rows(name: str, hub: Hub | None = None, what: str = "", fields: Iterable[str] = ()) -> list[Row]:
    """The rows of `name`, a path inside the folder: `math_en/gsm8k_test` or with .jsonl or .jsonl.gz, all the same.

    Rows are read once and shared by all who ask, so they are for reading. `what` names the data in messages; every
    row of a file has to have the `fields`.
    """
    stem = name.removesuffix(".gz").removesuffix(".jsonl")
    here = folder()
    for path in [here / f"{stem}{end}" for end in (".jsonl", ".jsonl.gz")] if here else []:
        if path.is_file():
            found = list(_read(path.resolve(), path.stat().st_mtime_ns))
            for field in fields:
                if number := next((i for i, row in enumerate(found, 1) if field not in row), 0):
                    raise Invalid(f"{path}: row {number} has no {field!r}.")
            return found
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


def known(split: str, splits: Iterable[str] = ("train", "validation", "test")) -> str:
    """The name of a split, if there is such a one."""
    if split not in splits:
        raise Invalid(f"No split {split!r}; there are: {', '.join(splits)}.")
    return split


def lines(path: Path) -> Iterator[tuple[int, Row]]:
    """Each row of a JSON Lines file with its line number. A damaged file is named, with the line."""
    row, number, opened = None, 0, gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8-sig") as file:
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
    except (OSError, EOFError, zlib.error) as error:
        raise Corrupt(f"{path} cannot be read (after line {number}): {_short(error)}.") from error
    if row is None:
        raise Invalid(f"{path} is empty.")


def paragraphs(path: Path) -> Iterator[tuple[int, Row]]:
    """Each paragraph of a text file as a row {"text": …}, with the number of its first line."""
    try:
        found = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise Corrupt(f"{path} is not UTF-8 text.") from error
    for blank, block in groupby(enumerate(found, 1), key=lambda line: not line[1].strip()):
        if not blank:
            numbers, texts = zip(*block, strict=True)
            yield numbers[0], {"text": "\n".join(texts)}
    if not any(map(str.strip, found)):
        raise Invalid(f"{path} is empty.")


def hashed(text: str) -> int:
    """A number that is the same on every machine and in every process, unlike `hash`."""
    return int.from_bytes(hashlib.sha1(text.encode(errors="surrogatepass"), usedforsecurity=False).digest()[:8], "big")


def carve(found: list[Row], count: int) -> tuple[list[Row], list[Row]]:
    """Cut a validation set out of rows: the `count` (at most a fifth) whose ids hash highest. Both keep their order."""
    ranked = sorted((row["id"] for row in found), key=hashed)
    held = set(ranked[len(ranked) - min(count, len(ranked) // 5) :])
    return [row for row in found if row["id"] not in held], [row for row in found if row["id"] in held]


def in_turn(found: list[Row], field: str) -> list[Row]:
    """One row of each value of a field, then another of each …, by the hash of their ids: any beginning is a fair sample."""
    seen: Counter[Any] = Counter()
    turns: list[tuple[int, Row]] = []
    for row in sorted(found, key=lambda row: hashed(row["id"])):
        turns.append((seen[row[field]], row))
        seen[row[field]] += 1
    return [row for _, row in sorted(turns, key=lambda pair: pair[0])]  # sorted is stable


def deal(keys: list[tuple[str, str]]) -> list[str]:
    """A split for each (key, the split it asks for or ""). The same key is always dealt to the same split.

    Of the keys that ask for nothing, the twentieth that hash lowest are test, the next twentieth validation (at least
    one each, if there are three), the rest train.
    """
    asked = {key: split for key, split in keys if split}
    loose = sorted({key for key, _ in keys} - set(asked), key=hashed)
    share = max(1, len(loose) // 20) if len(loose) > 2 else 0
    place = dict.fromkeys(loose, "train") | dict.fromkeys(loose[:share], "test")
    place |= dict.fromkeys(loose[share : 2 * share], "validation") | asked
    return [split or place[key] for key, split in keys]


@lru_cache(maxsize=64)
def _read(path: Path, modified: int) -> tuple[Row, ...]:
    return tuple(row for _, row in lines(path))


@lru_cache(maxsize=64)
def _fetch(hub: Hub) -> tuple[Row, ...]:
    from datasets import config, load_dataset  # two seconds and a network stack: only for those who need the Hub

    asked = config.HF_HUB_OFFLINE
    config.HF_HUB_OFFLINE = asked or not _reachable()
    try:
        if hub.files:
            kind = "json" if hub.files.endswith(".jsonl") else "text"
            url = f"hf://datasets/{hub.repo}@{hub.revision}/{hub.files}"
            found = load_dataset(kind, data_files={hub.split: url}, split=hub.split)
        else:
            found = load_dataset(hub.repo, hub.config, split=hub.split, revision=hub.revision)
    finally:
        config.HF_HUB_OFFLINE = asked
    return tuple(hub.row(number, dict(raw)) for number, raw in enumerate(found))


def _reachable() -> bool:
    """Whether there is a network at all. Without asking, six retries would take half a minute to say there is none."""
    if urllib.request.getproxies():  # behind a proxy names need not resolve here
        return True
    try:
        return bool(socket.getaddrinfo(urlsplit(os.environ.get("HF_ENDPOINT", HUB)).hostname, 443))
    except OSError:
        return False


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
