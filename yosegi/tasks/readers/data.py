"""Where a task's rows come from: the data folder, else the Hugging Face Hub, else one line that says what to fetch.

The data folder is `--data DIR`, `$YOSEGI_DATA` or `../shared/data`, whichever comes first. It holds JSON Lines, plain or gzipped;
its README documents the schema. A `Hub` names the data set with the same rows online and converts its rows to that schema.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from yosegi.errors import Invalid, NoData
from yosegi.tasks.readers.records import Row, online, read, short

NEIGHBOUR = Path("..") / "shared" / "data"
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Hub:
    """A data set on the Hub at a pinned revision.

    Args:
        repo: the repository, "openai/gsm8k".
        revision: the commit that is read.
        convert: turns an upstream row into one of ours, or into {} to leave it out.
        split: upstream's split.
        config: upstream's configuration.
        ids: a row without an id gets "IDS/NUMBER", counted from 0.
        files: reads only the files of this name or pattern: a .jsonl gives its fields, any other file {"text": line}.
    """

    repo: str
    revision: str
    convert: Callable[[Row], Row]
    split: str = "train"
    config: str | None = None
    ids: str = ""
    files: str | None = None


@dataclass(frozen=True)
class Source:
    """The rows of a task, split by split.

    Args:
        title: the name of the data in messages.
        files: the file of each split in the data folder, without its ending.
        fields: what each row must have.
        hub: for each split the same rows online; several data sets are read one after another.
        held_out: how many training rows, drawn by the hash of their ids, are the validation split (at most a fifth).
        apart: fields, with + between them; rows whose values of them the test has, too, are in no other split, and rows with
            those of held-out rows are not trained on.
        evaluation_only: nothing may be learnt from it.
    """

    title: str
    files: Mapping[str, str]
    fields: Sequence[str]
    hub: Mapping[str, Hub | Sequence[Hub]] = field(default_factory=dict)
    held_out: int = 0
    apart: str = ""
    evaluation_only: bool = False

    def rows(self, split: str) -> list[Row]:
        """Returns the rows of a split in upstream order; where one file holds several splits, its rows name theirs."""
        if self.evaluation_only and split == "train":
            raise Invalid(f"{self.title} is for evaluation only: there is no train split to learn from.")
        known(split, [name for name in SPLITS if name in self.files or (name == "validation" and self.held_out)])
        file = "train" if self.held_out and split == "validation" else split
        read = rows(self.files[file], self.hub.get(file), f"{self.title} ({file})", self.fields)
        if list(self.files.values()).count(self.files[file]) > 1:
            read = [row for row in read if row["split"] == split]
        others: list[Row] = []
        if self.held_out and split != "test":
            read, others = carve(read, self.held_out)[:: -1 if split == "validation" else 1]
        if self.apart and split != "test":
            others = [*self.rows("test"), *(others if split == "train" else [])]
            asked = set(map(self._key, others))
            read = [row for row in read if self._key(row) not in asked]
        return read

    def _key(self, row: Row) -> tuple[str, ...]:
        return tuple(row[name].strip() for name in self.apart.split("+"))


def source(
    title: str,
    file: str,
    fields: Sequence[str],
    repo: str,
    revision: str,
    convert: Callable[[Row], Row],
    config: str | None = None,
    splits: Mapping[str, str] = MappingProxyType({"train": "train", "test": "test"}),
    ids: str = "",
    files: Mapping[str, str] = MappingProxyType({}),
    **more: Any,
) -> Source:
    """Returns a source of one data set on the Hub (`splits` gives its names of our splits) and of files FILE_SPLIT.

    `files` gives another name of a split in a file.
    """
    hubs = {
        ours: Hub(repo, revision, convert, theirs, config, ids=f"{ids or file.rpartition('/')[2]}/{ours}")
        for ours, theirs in splits.items()
    }
    return Source(title, {ours: f"{file}_{files.get(ours, ours)}" for ours in splits}, fields, hubs, **more)


def folder() -> Path | None:
    """Returns the data folder of this process, or None. One that was asked for by name must exist."""
    if given := os.environ.get("YOSEGI_DATA"):
        return _existing(given)
    return NEIGHBOUR if NEIGHBOUR.is_dir() else None


def set_folder(path: str | Path) -> None:
    """Makes `path` the data folder of this process and of those it starts (the option `--data DIR`)."""
    os.environ["YOSEGI_DATA"] = str(_existing(path).resolve())


def _existing(path: str | Path) -> Path:
    if not (path := Path(path).expanduser()).is_dir():
        raise NoData(
            f"The data folder '{path}' does not exist. Point --data or YOSEGI_DATA at a folder of JSONL files."
        )
    return path


def rows(name: str, hub: Hub | Sequence[Hub] | None = None, title: str = "", fields: Iterable[str] = ()) -> list[Row]:
    """Returns the rows of one file of the data folder ("math_en/gsm8k_test", with or without .jsonl or .jsonl.gz), or of the Hub.

    Rows are read once and shared between callers, who must not change them. `title` names the data in messages; each row of a
    file must have the `fields`.
    """
    stem = name.removesuffix(".gz").removesuffix(".jsonl")
    here, title = folder(), title or stem
    for path in [here / f"{stem}{ending}" for ending in (".jsonl", ".jsonl.gz")] if here else []:
        if path.is_file():
            read = list(_read(path.resolve(), path.stat().st_mtime_ns))
            for wanted in fields:
                if number := next((i for i, row in enumerate(read, 1) if row.get(wanted) is None), 0):
                    raise Invalid(f"{path}: row {number} has no {wanted!r}.")
            return read
    wanted = f"put {stem}.jsonl into the data folder {str(here)!r}"
    wanted = wanted if here else f"set YOSEGI_DATA or --data to a folder with {stem}.jsonl"
    if hub is None:
        raise NoData(f"{title} is not here: {wanted}.")
    hubs = [hub] if isinstance(hub, Hub) else hub
    try:
        return [row for one in hubs for row in _fetch(one)]
    except Exception as error:  # offline, no route, gated, moved, not in the cache: the Hub has a class for each
        raise NoData(
            f"{title} is not here and {hubs[0].repo} could not be read from the Hugging Face Hub ({short(error)}): "
            f"{wanted}, or go online."
        ) from error


def known(split: str, splits: Iterable[str] = SPLITS) -> str:
    """Returns the name of a split, or refuses it."""
    if split not in splits:
        raise Invalid(f"No split {split!r}; there are: {', '.join(splits)}.")
    return split


def hashed(text: str) -> int:
    """Returns a hash that is the same on every machine and in every process, unlike Python's `hash`."""
    return int.from_bytes(hashlib.sha1(text.encode(errors="surrogatepass"), usedforsecurity=False).digest()[:8], "big")


def carve(rows: list[Row], count: int) -> tuple[list[Row], list[Row]]:
    """Returns (training rows, validation rows): the `count` rows (at most a fifth) whose ids hash highest are validation."""
    ranked = sorted((row["id"] for row in rows), key=hashed)
    held_out = set(ranked[len(ranked) - min(count, len(ranked) // 5) :])
    return [row for row in rows if row["id"] not in held_out], [row for row in rows if row["id"] in held_out]


def in_turn(rows: list[Row], field: str) -> list[Row]:
    """Returns the rows in rounds: each value of `field` once, then each once more. So every beginning is a fair sample."""
    seen: Counter[Any] = Counter()
    rounds: list[tuple[int, Row]] = []
    for row in sorted(rows, key=lambda row: hashed(row["id"])):
        rounds.append((seen[row[field]], row))
        seen[row[field]] += 1
    return [row for _, row in sorted(rounds, key=lambda pair: pair[0])]  # sorted is stable


def deal(keys: list[tuple[str, str]]) -> list[str]:
    """Returns a split for each (key, the split that it names, or ""). Equal keys get the same split.

    Of the keys that name none, the twentieth with the lowest hashes is the test split, the next twentieth validation (at
    least one key each, if there are three), and the rest is for training.
    """
    named = {key: split for key, split in keys if split}
    others = sorted({key for key, _ in keys} - set(named), key=hashed)
    share = max(1, len(others) // 20) if len(others) > 2 else 0
    places = dict.fromkeys(others, "train") | dict.fromkeys(others[:share], "test")
    places |= dict.fromkeys(others[share : 2 * share], "validation") | named
    return [split or places[key] for key, split in keys]


@lru_cache(maxsize=64)
def _read(path: Path, modified: int) -> tuple[Row, ...]:
    return tuple(record.row for record in read(path))


@lru_cache(maxsize=64)
def _fetch(hub: Hub) -> tuple[Row, ...]:
    with online() as load_dataset:
        if hub.files:
            kind = "json" if hub.files.endswith(".jsonl") else "text"
            url = f"hf://datasets/{hub.repo}@{hub.revision}/{hub.files}"
            upstream = load_dataset(kind, data_files={hub.split: url}, split=hub.split)
        else:
            upstream = load_dataset(hub.repo, hub.config, split=hub.split, revision=hub.revision)
    converted = ((number, hub.convert(dict(row))) for number, row in enumerate(upstream))
    return tuple({"id": f"{hub.ids}/{number}"} | row for number, row in converted if row)
