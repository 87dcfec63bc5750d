"""The library of a server, in memory: what is whole, what is damaged, and what has changed since the last look.

The folder may change at any time: experts are added, replaced, removed, or copied in by hand, file by file. An expert is checked
before anybody may ask for it: the card, the base, the sha256 of the weights, every number. One that fails may be half written, so
it is called damaged only if it looks the same at the next look; it is then named, and nothing else happens. Factors are read into
memory, so that a file that is cut short later hurts nobody.
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

from yosegi.core.expert import Expert, Factors
from yosegi.engine.kept import CARD as ARM_CARD
from yosegi.engine.kept import FOLDER, arms, read_arm
from yosegi.errors import Corrupt, Invalid, UnknownName, YosegiError
from yosegi.library.card import CARD, check_base, check_name, read_card
from yosegi.library.peft_files import CONFIG, WEIGHTS, config_of, factors_of
from yosegi.library.store import Library
from yosegi.library.verify import problems

PARTS = (CARD, CONFIG, WEIGHTS)
LARGEST = 1e25
"""The largest number that an expert may hold. Above it a factor times an input may overflow, and 0 · inf, an expert of weight 0,
would spoil the answers of other arms in the batch."""
log = logging.getLogger("yosegi.serve")

Mark = tuple[tuple[int, int, int], ...]
"""Of each file: when it was changed, its size, its inode."""


class Entry(NamedTuple):
    """One expert: its card, or why it cannot be used."""

    mark: Mark
    card: dict[str, Any]
    error: str = ""
    parameters: int = 0


class Shelf(Library):
    """A library whose experts are those of the last look (`look`).

    Args:
        path: the folder.
        base_hash: of the base in use.
        base: its name.
        shapes: (O, I) of every linear of the model; an expert of other shapes is damaged.
    """

    def __init__(self, path: Path, base_hash: str, base: str, shapes: dict[str, tuple[int, int]]):
        super().__init__(path, base_hash, base)
        self.shapes, self.version = shapes, 0
        self.entries: dict[str, Entry] = {}
        self.kept: dict[str, dict[str, Any]] = {}  # the cards of kept arms
        self._arms: dict[str, Mark] = {}
        self._fresh: dict[str, Mark] = {}  # of the look before
        self._gone: set[str] = set()  # what was not there then
        self._loaded: WeakValueDictionary[tuple[str, str], Expert] = WeakValueDictionary()

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(name for name, entry in self.entries.items() if not entry.error))

    def __contains__(self, name: object) -> bool:
        return name in self.entries and not self.entries[str(name)].error

    @property
    def broken(self) -> dict[str, str]:
        """What is wrong with each expert that cannot be used."""
        return {name: entry.error for name, entry in sorted(self.entries.items()) if entry.error}

    def card(self, name: str) -> dict[str, Any]:
        """Returns the card of one expert."""
        if name not in self:
            raise UnknownName.among("expert of this library", name, self)
        return self.entries[name].card

    def cards(self) -> dict[str, dict[str, Any]]:
        """Returns the card of every expert."""
        return {name: self.entries[name].card for name in self}

    def look(self, now: str = "") -> bool:
        """Looks at the folder. Returns whether anything has changed.

        Args:
            now: an expert that is taken even if it has just been written; all of them at the first look.
        """
        first, changed = not self.version, False
        marks = {folder.name: mark for folder in self._folders() if (mark := _mark(folder, PARTS)) is not None}
        for name, mark in marks.items():
            known = self.entries.get(name)
            if known is not None and known.mark == mark:
                continue
            entry = self._checked(name, mark)
            if entry.error and not first and name != now and self._fresh.get(name) != mark:
                continue  # perhaps it is only half written: wait for the next look
            self.entries[name], changed = entry, True
            if entry.error:
                log.warning("expert %s cannot be used: %s", name, entry.error)
            elif not first:
                log.info("expert %s is %s", name, "new" if known is None else "replaced")
        for name in self.entries.keys() - marks.keys():
            if name == now or name in self._gone:  # one that is being replaced is away for a moment
                del self.entries[name]
                changed = True
                log.info("expert %s is gone", name)
        self._gone = self.entries.keys() - marks.keys()
        self._fresh = marks
        changed |= self._look_at_arms()
        self.version += changed or first
        return changed

    def _folders(self) -> list[Path]:
        try:
            return sorted(
                path for path in self.path.iterdir() if path.name[0] != "." and path.name != FOLDER and path.is_dir()
            )
        except OSError:
            return []

    def _look_at_arms(self) -> bool:
        found: dict[str, Mark] = {}
        for name in arms(self):
            if (mark := _mark(self.path / FOLDER / name, (ARM_CARD,))) is not None:
                found[name] = mark
        if found == self._arms:
            return False
        cards: dict[str, dict[str, Any]] = {}
        for name in found:
            try:
                cards[name] = read_arm(self, check_name(name))
            except (YosegiError, OSError) as error:
                log.warning("arm %s cannot be used: %s", name, error)
        self._arms, self.kept = found, cards
        return True

    def _checked(self, name: str, mark: Mark) -> Entry:
        folder, card = self.path / name, dict[str, Any]()
        try:
            check_name(name)
            self._folder_of(folder)
            card = read_card(folder)
            if faults := [fault for fault in problems(folder) if fault.file.name in PARTS]:
                raise Corrupt("; ".join(f"{fault.file.name} {fault.what}" for fault in faults[:3]))
            check_base({**card, "name": name}, self.base, self.base_hash or "")
            factors = self._read_factors(folder)
        except (YosegiError, OSError, ValueError) as error:
            return Entry(mark, card, str(error).replace(f"{folder}/", "").replace(str(folder), name))
        return Entry(mark, card, parameters=sum(f.A_RI.numel() + f.B_OR.numel() for f in factors.values()))

    def _folder_of(self, folder: Path) -> None:
        root = self.path.resolve()
        if not all(part.resolve().is_relative_to(root) for part in (folder, *(folder / part for part in PARTS))):
            raise Invalid("a link leads out of the library")

    def _read_factors(self, folder: Path) -> dict[str, Factors]:
        factors: dict[str, Factors] = {}
        for layer, f in factors_of(folder, config_of(folder)).items():
            if self.shapes.get(layer) != f.shape:
                raise Invalid(
                    f"{layer} of {f.shape} is no linear of {self.base}: {self.shapes.get(layer, 'none of that name')}"
                )
            if max(float(f.A_RI.abs().max()), float(f.B_OR.abs().max()), abs(f.scale)) > LARGEST:
                raise Corrupt(f"{layer} holds numbers above {LARGEST:.0e}")
            factors[layer] = Factors(f.A_RI.clone(), f.B_OR.clone(), f.scale)
        return factors

    def _read(self, name: str) -> Expert:
        card = self.card(name)
        key = name, str(card.get("sha256"))
        if (expert := self._loaded.get(key)) is not None:
            return expert
        folder = self.path / name
        if _mark(folder, PARTS) != self.entries[name].mark:  # it was replaced since the last look
            self.entries[name] = self._checked(name, _mark(folder, PARTS) or ())
            self.version += 1
            card = self.card(name)
            key = name, str(card.get("sha256"))
        expert = self._loaded[key] = Expert(name, self._read_factors(folder), card)
        return expert


def _mark(folder: Path, parts: tuple[str, ...]) -> Mark | None:
    """Returns what changes when a file does, zeros for one that is not there; None if there is none of them."""
    marks: list[tuple[int, int, int]] = []
    for part in parts:
        try:
            stat = (folder / part).stat()
            marks.append((stat.st_mtime_ns, stat.st_size, stat.st_ino))
        except OSError:
            marks.append((0, 0, 0))
    return tuple(marks) if any(map(any, marks)) else None
