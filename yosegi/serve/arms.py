"""From what a client calls a model to the seat that answers: read, checked, its experts merged and its prototypes worked out.

Clients name what the server has: the base, experts, kept arms, and routers and merges over them. What would reach further is
refused: folders of whole weights, code by module path, encoders by name, more experts than the settings allow. Seats are kept by
what they compute (`Arm.fingerprint`): after an expert was replaced the same text means another seat.
"""

import re
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from yosegi import registry
from yosegi.engine.arm import Arm
from yosegi.engine.spec import KEYS, MERGE, parse_arm
from yosegi.engine.switch import Seat
from yosegi.errors import Invalid, UnknownName
from yosegi.serve.settings import ServeSettings
from yosegi.serve.shelf import Shelf
from yosegi.spec import Quoted, Reader, quote, write_value

LONGEST = 4096
"""Characters of a spec."""
WORD = re.compile(r"[\w.+-]{0,64}")
REFUSED = {"base_delta": "whole weights", "encoder": "another model", "tasks": "the tasks of a trained router"}
"""Arguments that only the operator sets, by a kept arm."""


def weighted(experts: Mapping[str, float]) -> str:
    """Returns the spec of experts with fixed weights, {"a": .7, "b": .3}."""
    if not experts:
        return "base"
    return "+".join(f"{quote(name)}*{write_value(float(w)).removesuffix('.0')}" for name, w in experts.items())


def check(text: str, settings: ServeSettings) -> None:
    """Refuses a spec that a client may not ask for. Whether its names mean anything is not looked at.

    Raises:
        Invalid: says what.
    """
    if len(text) > LONGEST:
        raise Invalid(f"A model of {len(text)} characters is longer than {LONGEST}.")
    reader = Reader(text)
    head = reader.word("a model")
    quoted, merge = isinstance(head, Quoted), head.startswith(MERGE)
    if not quoted and ":" in head.removeprefix(MERGE if merge else ""):
        raise Invalid(f"{head!r}: code of other packages is not served.")
    if reader.peek() in ("*", "+"):  # a weighted sum: its options come last
        reader.at = len(text) if "{" not in text else text.rindex("{")
    for name, value in reader.options().items():
        if name in REFUSED:
            raise Invalid(f"{name} ({REFUSED[name]}) is for who runs the server.")
        if name not in KEYS:
            _check_value(name, value)
    count = text.count(",") + text.count("+") + 1
    if count > 4 * settings.experts:
        raise Invalid(f"A model of more than {settings.experts} experts is not served.")


def _check_value(name: str, value: Any) -> None:
    """A number or a short word: never a path, never a module."""
    for one in value if isinstance(value, list) else value.values() if isinstance(value, Mapping) else [value]:
        if isinstance(one, list | Mapping):
            _check_value(name, one)
        elif not WORD.fullmatch(str(one)):
            raise Invalid(f"{name}={str(one)[:64]!r}: a number or a word is expected.")


class Arms:
    """Seats that are ready, at most so many. What reads the library (`asked`) runs in one thread; seats may be made in another,
    as merging takes long.

    Args:
        shelf: the library; None for the base alone.
        layers: of the model, in order.
        settings: the limits.
        base: what the base is called besides "base".
    """

    def __init__(self, shelf: Shelf | None, layers: Sequence[str], settings: ServeSettings, base: str):
        self.shelf, self.layers, self.settings, self.base = shelf, layers, settings, base
        self._texts: OrderedDict[str, tuple[int, Seat]] = OrderedDict()
        self._seats: OrderedDict[str, Seat] = OrderedDict()
        self._lock = threading.Lock()

    def ready(self, text: str) -> Seat | None:
        """Returns the seat of a text if nothing has to be done for it. May be called from any thread."""
        version, seat = self._texts.get(text, (-1, None))
        return seat if version == self._version else None

    def asked(self, text: str) -> tuple[Arm, int]:
        """Returns the arm that a text means now, its experts read, and the version of the library that it means it in.

        Raises:
            UnknownName: nothing is called that. Invalid: it is no arm, or none that is served.
        """
        version = self._version
        return self._arm(text), version

    def seat(self, text: str, arm: Arm, version: int) -> Seat:
        """Returns the seat of an arm that was `asked` for. May be called from any thread.

        Raises:
            Invalid: it is none that answers beside others.
        """
        mark = arm.fingerprint()
        with self._lock:
            seat = self._seats.get(mark)
        made = seat or Seat(arm, self.layers)
        with self._lock:
            seat = self._seats.setdefault(mark, made)
            if version == self._version:
                self._texts[text] = version, seat
                self._texts.move_to_end(text)
            self._seats.move_to_end(mark)
            while len(self._seats) > self.settings.arms:
                self._seats.popitem(last=False)
            while len(self._texts) > 8 * self.settings.arms:
                self._texts.popitem(last=False)
        return seat

    @property
    def _version(self) -> int:
        return self.shelf.version if self.shelf is not None else 0

    def _arm(self, text: str) -> Arm:
        if text in ("base", self.base) and text not in (self.shelf or ()):
            return Arm("base")
        check(text, self.settings)
        if self.shelf is None:
            raise UnknownName.among("model", text, ["base", self.base])
        if text in self.shelf.entries and text not in self.shelf:
            raise Invalid(f"The expert {text!r} cannot be used: {self.shelf.entries[text].error}.")
        arm = parse_arm(text, self.shelf)
        if len(arm.experts) > self.settings.experts:
            raise Invalid(
                f"{text}: {len(arm.experts)} experts are more than the {self.settings.experts} of one arm here."
            )
        if arm.merge and text not in self.shelf.kept and len(arm.experts) > self.settings.merged:
            raise Invalid(
                f"{text}: {len(arm.experts)} experts are more than the {self.settings.merged} of one merge here."
            )
        return arm


@cache
def methods() -> list[str]:
    """Returns the routers and merges that need no training and are told nothing: what a page can offer over any experts."""
    routers = {name: registry.find("routers", name) for name in registry.names("routers")}
    free = [name for name, router in routers.items() if router.learns is None and router.needs is None]
    return [*free, *(MERGE + name for name in registry.names("merges"))]
