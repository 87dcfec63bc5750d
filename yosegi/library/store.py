"""A library: experts on disk, one folder each, read as a `Mapping[str, Expert]`.

    LIBRARY/NAME/adapter_config.json          PEFT's own two files: PEFT and vLLM load the folder as it is
                 adapter_model.safetensors
                 expert.json                  the card: base, task, training, parents, metrics, checksum
                 README.md                    the same for a reader
    LIBRARY/.lock                             held by a writer while it writes, by readers while they read

An expert is written beside its place and renamed into it: it is there whole or not at all, whatever is killed or full.
Its tensors are mapped into memory, and read from disk when they are used.
"""

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from yosegi import files
from yosegi.core.expert import Expert
from yosegi.errors import Invalid, NoData, UnknownName, WrongBase
from yosegi.library.card import CARD, README, card_of, check_base, check_name, read_card, readme
from yosegi.library.interchange import as_peft
from yosegi.library.peft_files import CONFIG, WEIGHTS, config_of, factors_of
from yosegi.library.verify import Problem, problems

LOCK, ARMS = ".lock", "arms"
PARTS = (CARD, CONFIG, WEIGHTS, README)


class Library(Mapping[str, Expert]):
    """Experts by name, in alphabetical order. Several processes may read and add at once: nothing is lost or half.

    Args:
        path: the folder. Writing makes it; reading one that is not there raises NoData.
        base_hash: of the base in use. An expert of another base is then refused (WrongBase), and one that does not say
            is recorded under this hash when it is added.
        base: what that base is called, for messages.
    """

    def __init__(self, path: str | Path, base_hash: str | None = None, base: str | None = None):
        self.path, self.base_hash, self.base = Path(path), base_hash, base
        if self.path.exists() and not self.path.is_dir():
            raise Invalid(f"{self.path} is a file; a library is a folder.")

    def __repr__(self) -> str:
        return f"Library({str(self.path)!r})"

    def __iter__(self) -> Iterator[str]:
        self._here()
        return iter(
            sorted(e.name for e in os.scandir(self.path) if e.name[0] != "." and _is_expert(self.path / e.name))
        )

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        try:
            return _is_expert(self.path / check_name(name))
        except Invalid:
            return False

    def __getitem__(self, name: str) -> Expert:
        """One expert, its tensors mapped into memory: nothing of them is read before it is used."""
        with self.locked(fcntl.LOCK_SH):
            return self._read(name)

    def __setitem__(self, name: str, expert: Expert) -> None:
        """Add it under this name, replacing what was there."""
        self.add(replace(expert, name=name), overwrite=True)

    def __delitem__(self, name: str) -> None:
        self.remove(name)

    def get(self, name: str, default: Any = None) -> Any:
        """The expert, or `default` if there is none of that name."""
        return self[name] if name in self else default  # noqa: SIM401 - this is `get`

    def load(self, names: Iterable[str] | None = None) -> list[Expert]:
        """Many experts at once, by default all of them: what `put` stands into a model."""
        with self.locked(fcntl.LOCK_SH):
            return [self._read(name) for name in (self if names is None else names)]

    def originals(self) -> list[str]:
        """The experts that were not merged, folded or subtracted out of others of the same library, so that none counts twice."""
        made = {"merge", "fold", "subtract", "search"}
        cards = self.cards()
        return [
            name for name, card in cards.items()
            if not (made & set(card.get("training") or ()) and set(card.get("parents") or ()) <= cards.keys())
        ]  # fmt: skip

    def card(self, name: str) -> dict[str, Any]:
        """What is known of one expert; its tensors are not looked at."""
        with self.locked(fcntl.LOCK_SH):
            return read_card(self._folder(name))

    def cards(self) -> dict[str, dict[str, Any]]:
        """What is known of each."""
        with self.locked(fcntl.LOCK_SH):
            return {name: read_card(self._folder(name)) for name in self}

    def add(self, expert: Expert, *, overwrite: bool = False) -> None:
        """Write an expert, whole or not at all. Its card may say its `task_type` for PEFT (CAUSAL_LM if it does not).

        Raises:
            Invalid: the name cannot be one, or is taken and not to be overwritten; the factors do not fit or are not
                finite.
            WrongBase: it was trained beside another base than this library's.
            OSError: the disk is full or not ours to write. What was there before is still there.
        """
        name = check_name(expert.name)
        if self.base_hash and expert.card.get("base_hash"):
            check_base(expert, self.base, self.base_hash)
        weights, config = as_peft(
            expert, expert.card.get("base") or self.base, expert.card.get("task_type") or "CAUSAL_LM"
        )
        card = card_of(expert, config, hashlib.sha256(weights).hexdigest(), self.base, self.base_hash)
        self.path.mkdir(parents=True, exist_ok=True)
        folder = self.path / name
        with self.locked(fcntl.LOCK_EX):
            files.sweep(self.path, _is_stray)
            if (self.path / ARMS / name).is_dir():
                raise Invalid(f"{self.path} keeps an arm called {name!r}. Choose another name for the expert.")
            if os.path.lexists(folder):
                if not overwrite:
                    raise Invalid(f"{self.path} has an expert called {name!r}. Choose another name, or overwrite it.")
                if not _is_expert(folder):
                    raise Invalid(f"{folder} is in the way, and it is no expert.")
            with files.new_folder(folder) as new:
                # Not `files.write`: the folder is synced as a whole, and a file that is synced twice costs twice.
                (new / WEIGHTS).write_bytes(weights)
                (new / CONFIG).write_text(_json(config), encoding="utf-8")
                (new / CARD).write_text(_json(card), encoding="utf-8")
                (new / README).write_text(readme(card, config), encoding="utf-8")

    def remove(self, name: str) -> None:
        """Delete an expert."""
        with self.locked(fcntl.LOCK_EX):
            files.sweep(self.path, _is_stray)
            folder = self.path / check_name(name)
            if folder.is_symlink():
                folder.unlink()
                return
            self._folder(name)
            files.remove_folder(folder)

    def verify(self) -> list[Problem]:
        """Everything that is wrong with the files, each named. Reads every byte."""
        found: list[Problem] = []
        with self.locked(fcntl.LOCK_SH):  # no writer is at work now, so what looks unfinished is
            self._here()
            for path in sorted(self.path.iterdir()):
                if _is_stray(path):
                    found.append(
                        Problem(path, "left behind by a writer that was killed; the next write tidies it away")
                    )
                elif path.is_dir() and path.name[0] != "." and path.name != ARMS and not _is_expert(path):
                    found.append(Problem(path, "a folder that holds no expert"))
        for name in self:
            with self.locked(fcntl.LOCK_SH):
                if name in self:  # it may have been removed meanwhile
                    found += self._problems(name)
        return found

    def _problems(self, name: str) -> list[Problem]:
        try:
            found = problems(self._folder(name))
            if not found and self.base_hash:
                check_base(read_card(self.path / name), self.base, self.base_hash)
        except WrongBase as error:
            return [Problem(self.path / name / CARD, str(error))]
        except Invalid as error:  # a link that leads out, a name that cannot be one
            return [Problem(self.path / name, str(error))]
        return found

    def _read(self, name: str) -> Expert:
        folder = self._folder(name)
        card = read_card(folder)
        if self.base_hash:
            check_base({**card, "name": name}, self.base, self.base_hash)
        return Expert(name, factors_of(folder, config_of(folder)), card)

    def _here(self) -> None:
        if not self.path.is_dir():
            raise NoData(f"There is no library at {self.path}. Adding or training an expert makes one.")

    def _folder(self, name: str) -> Path:
        """Where an expert lies, if it does, and inside this library."""
        folder = self.path / check_name(name)
        if not _is_expert(folder):
            raise UnknownName.among("expert of this library", name, self)
        for path in (folder, *(folder / part for part in PARTS)):
            if path.is_symlink() and not path.resolve().is_relative_to(self.path.resolve()):
                raise Invalid(f"{path} is a link that leads out of the library, to {path.resolve()}.")
        return folder

    @contextmanager
    def locked(self, how: int) -> Iterator[None]:
        """Hold the library's lock: LOCK_EX to write, LOCK_SH to read. Without a lock file there is no writer yet."""
        access = os.O_RDWR | os.O_CREAT if how == fcntl.LOCK_EX else os.O_RDONLY
        try:
            lock = os.open(self.path / LOCK, access | os.O_NOFOLLOW, 0o666)
        except FileNotFoundError:
            self._here()
            lock = None
        try:
            if lock is not None:
                fcntl.flock(lock, how)
            yield
        finally:
            if lock is not None:
                os.close(lock)


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1) + "\n"


def _is_expert(folder: Path) -> bool:
    """Whether it holds any part of one. A damaged expert is one too: it can be verified, removed and replaced."""
    return any((folder / part).is_file() for part in (CARD, CONFIG, WEIGHTS))


def _is_stray(path: Path) -> bool:
    """A folder as `files.new_folder` and `remove` name theirs, with nothing in it but an expert or its parts."""
    if not re.fullmatch(r"\..+\.[a-z0-9_]{8}", path.name) or not path.is_dir() or path.is_symlink():
        return False
    return all(
        inner.name.startswith(PARTS)
        or inner.name.startswith(tuple(f".{part}." for part in PARTS))
        or path.name.startswith(f".{inner.name}.old.")
        for inner in path.iterdir()
    )
