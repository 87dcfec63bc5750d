"""A library: experts on disk, one folder each, read as a `Mapping[str, Expert]`.

    LIBRARY/NAME/adapter_config.json          PEFT's own two files: PEFT and vLLM load the folder as it is
                 adapter_model.safetensors
                 expert.json                  the card: base, task, training, parents, metrics, checksum
                 README.md                    the model card
    LIBRARY/.lock                             locked by a writer while it writes, by readers while they read

An expert is written under another name and renamed: it is there whole or not at all, even if the process is killed or the disk
is full. Its tensors are mapped into memory, and read from disk when they are used.
"""

import errno
import fcntl
import hashlib
import os
import stat
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from yosegi import files
from yosegi.errors import Invalid, NoData, UnknownName, WrongBase, YosegiError, shown
from yosegi.library.card import CARD, CONFIG, README, WEIGHTS, card_of, check_base, check_name, read_card, readme

if TYPE_CHECKING:  # lists of experts need no torch
    from yosegi.core.expert import Expert, Factors
    from yosegi.library.verify import Problem

LOCK, ARMS = ".lock", "arms"
T = TypeVar("T")
DAMAGED = (YosegiError, OSError, ValueError, RuntimeError)
"""What reading a folder raises that anything may lie in; a RuntimeError is links in a circle."""
PARTS = (CARD, CONFIG, WEIGHTS, README)


class Library(Mapping[str, "Expert"]):
    """Experts by name, in alphabetical order. Several processes may read and add at the same time.

    Args:
        path: the folder. Writing creates it; reading a missing one raises NoData.
        base_hash: the hash of the base in use. An expert of another base is then refused (WrongBase), and one without a base
            gets this hash when it is added.
        base: the name of the base in use, for messages.
    """

    def __init__(self, path: str | Path, base_hash: str | None = None, base: str | None = None):
        self.path, self.base_hash, self.base = Path(path), base_hash, base
        if self.path.exists() and not self.path.is_dir():
            raise Invalid(f"{self.path} is a file; a library is a folder.")

    def __repr__(self) -> str:
        return f"Library({str(self.path)!r})"

    def __iter__(self) -> Iterator[str]:
        self._here()
        return iter(sorted(path.name for path in self.path.iterdir() if path.name[0] != "." and _is_expert(path)))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        try:
            return _is_expert(self.path / check_name(name))
        except Invalid:
            return False

    def __getitem__(self, name: str) -> "Expert":
        """Returns one expert with its tensors mapped into memory: nothing is read before it is used."""
        with self.locked(fcntl.LOCK_SH):
            return self._read(name)

    def __setitem__(self, name: str, expert: "Expert") -> None:
        """Adds an expert under this name, replacing what was there."""
        self.add(replace(expert, name=name), overwrite=True)

    def __delitem__(self, name: str) -> None:
        self.remove(name)

    def get(self, name: str, default: Any = None) -> Any:
        """Returns the expert, or `default` if there is none of this name."""
        return self[name] if name in self else default  # noqa: SIM401 - this is `get`

    def load(self, names: Iterable[str] | None = None) -> "list[Expert]":
        """Returns several experts in the order of the names; by default all, without those that cannot be read (a warning)."""
        with self.locked(fcntl.LOCK_SH):
            if names is None:
                return list(self._readable(self, self._read).values())
            return [self._read(name) for name in names]

    def originals(self) -> list[str]:
        """Returns the experts that were not made of others of this library (merged, folded, subtracted): none counts twice.

        One that cannot be read is left out, with a warning.
        """
        made = {"merge", "fold", "subtract", "search"}
        with self.locked(fcntl.LOCK_SH):
            cards = self._readable(self, lambda name: self._open(name)[0])
        return [
            name for name, card in cards.items()
            if not (made & set(card.get("training") or ()) and set(card.get("parents") or ()) <= cards.keys())
        ]  # fmt: skip

    def card(self, name: str) -> dict[str, Any]:
        """Returns the card of one expert; its tensors are not read."""
        with self.locked(fcntl.LOCK_SH):
            return read_card(self._folder(name))

    def cards(self) -> dict[str, dict[str, Any]]:
        """Returns the card of every expert; one that cannot be read is left out, with a warning."""
        with self.locked(fcntl.LOCK_SH):
            return self._readable(self, lambda name: read_card(self._folder(name)))

    def add(self, expert: "Expert", *, overwrite: bool = False) -> None:
        """Writes an expert, whole or not at all. Its card may have its `task_type` for PEFT; the default is CAUSAL_LM.

        Raises:
            Invalid: the name is not valid, or is taken and not to be overwritten; the factors do not fit or are not finite.
            WrongBase: it belongs to another base than this library's.
            OSError: the disk is full or not writable. What was there before is still there.
        """
        from yosegi.library.interchange import as_peft

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
            files.sweep(self.path, PARTS)
            if (self.path / ARMS / name).is_dir():
                raise Invalid(f"{self.path} keeps an arm called {name!r}. Choose another name for the expert.")
            if os.path.lexists(folder):
                if not overwrite:
                    raise Invalid(f"{self.path} has an expert called {name!r}. Choose another name, or overwrite it.")
                if not _is_expert(folder):
                    raise Invalid(f"{folder} is in the way, and it is not an expert.")
            with files.new_folder(folder) as new:
                # Not `files.write`: the folder is synced as a whole, and a file that is synced twice costs twice.
                (new / WEIGHTS).write_bytes(weights)
                (new / CONFIG).write_text(files.dumped(config), encoding="utf-8")
                (new / CARD).write_text(files.dumped(card), encoding="utf-8")
                (new / README).write_text(readme(card, config), encoding="utf-8")

    def remove(self, name: str) -> None:
        """Deletes an expert."""
        with self.locked(fcntl.LOCK_EX):
            files.sweep(self.path, PARTS)
            folder = self.path / check_name(name)
            if folder.is_symlink():
                folder.unlink()
                return
            if not _is_expert(folder):
                raise UnknownName.among("expert of this library", name, self)
            files.remove_folder(folder)

    def verify(self) -> "list[Problem]":
        """Returns everything that is wrong with the files. Reads every byte."""
        from yosegi.library.verify import Problem, problems

        faults: list[Problem] = []
        with self.locked(fcntl.LOCK_SH):  # no writer is at work now, so what looks unfinished is
            self._here()
            left = files.strays(self.path, PARTS)
            faults += [Problem(path, "left by a writer that was killed; the next write deletes it") for path in left]
            for path in sorted(self.path.iterdir()):
                if path.is_dir() and path.name[0] != "." and path.name != ARMS and not _is_expert(path):
                    faults.append(Problem(path, "a folder that holds no expert"))
        for name in self:
            with self.locked(fcntl.LOCK_SH):
                if not _is_expert(self.path / name):  # it may have been removed meanwhile
                    continue
                try:
                    faults += (damages := problems(self._folder(name)))
                    if not damages and self.base_hash:
                        check_base(read_card(self.path / name), self.base, self.base_hash)
                except WrongBase as error:
                    faults.append(Problem(self.path / name / CARD, str(error)))
                except DAMAGED as error:  # a link that leads out, a name that is not valid
                    faults.append(Problem(self.path / name, str(error)))
        return faults

    def _read(self, name: str) -> "Expert":
        from yosegi.core.expert import Expert

        card, factors = self._open(name)
        if self.base_hash:
            check_base({**card, "name": name}, self.base, self.base_hash)
        return Expert(name, factors, card)

    def _open(self, name: str) -> tuple[dict[str, Any], dict[str, "Factors"]]:
        from yosegi.library.peft_files import config_of, factors_of

        folder = self._folder(name)
        return read_card(folder), factors_of(folder, config_of(folder))

    @staticmethod
    def _readable(names: Iterable[str], read: Callable[[str], T]) -> dict[str, T]:
        """Returns what `read` returns of each expert; of those that are damaged the user is told, and gets the others."""
        readable: dict[str, T] = {}
        for name in names:
            try:
                readable[name] = read(name)
            except WrongBase:
                raise
            except DAMAGED as error:
                warnings.warn(f"expert {shown(name)} is left out: {error}", stacklevel=3)
        return readable

    def _here(self) -> None:
        if not self.path.is_dir():
            raise NoData(f"There is no library at {self.path}. Adding or training an expert makes one.")

    def _folder(self, name: str) -> Path:
        """Returns the folder of an expert, which must exist and lie inside this library."""
        folder = self.path / check_name(name)
        if not _is_expert(folder):
            raise UnknownName.among("expert of this library", name, self)
        for path in (folder, *(folder / part for part in PARTS)):
            if path.is_symlink() and not (end := _end_of(path)).is_relative_to(self.path.resolve()):
                raise Invalid(f"{path} is a link that leads out of the library, to {end}.")
        return folder

    @contextmanager
    def locked(self, how: int) -> Iterator[None]:
        """Holds the library's lock: LOCK_EX to write, LOCK_SH to read. Without a lock file there is no writer yet."""
        access = os.O_RDWR | os.O_CREAT if how == fcntl.LOCK_EX else os.O_RDONLY
        try:
            lock = os.open(self.path / LOCK, access | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
        except FileNotFoundError:
            self._here()
            lock = None
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
                raise
            raise Invalid(f"{self.path / LOCK} is not a file. Delete it; yosegi makes it again.") from error
        try:
            if lock is not None:
                if not stat.S_ISREG(os.fstat(lock).st_mode):
                    raise Invalid(f"{self.path / LOCK} is not a file. Delete it; yosegi makes it again.")
                fcntl.flock(lock, how)
            yield
        finally:
            if lock is not None:
                os.close(lock)


def _end_of(path: Path) -> Path:
    """Returns where a link leads to.

    Raises:
        Invalid: in a circle.
    """
    try:
        return path.resolve()
    except (RuntimeError, OSError) as error:
        raise Invalid(f"{path} is a link that leads nowhere.") from error


def _is_expert(folder: Path) -> bool:
    """Returns whether a folder has any part of an expert. A damaged one counts: it can be verified, removed and replaced."""
    return any((folder / part).is_file() for part in (CARD, CONFIG, WEIGHTS))
