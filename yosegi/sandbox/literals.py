"""Values on their way between a program and its judge: as JSON, in which nothing can act, compare or hide.

None, bools, floats, texts, lists and most ints are themselves; any other literal is {"its kind": its content}. What is no literal
is left to `refer`, which gives it a number that the other side can name again.
"""

import json
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import islice
from os import read as read_some
from os import write as write_some
from struct import Struct
from typing import Any

FRAME = Struct(">I")
MOST = 1 << 22  # bytes of one message
EXACT = 1 << 53  # beyond, an int is written in hexadecimal, which has no limit of digits

Encoder = Callable[[Any], Any]
KEYS, VALUES, ITEMS = (type(view) for view in ({}.keys(), {}.values(), {}.items()))


def _each(value: Any, encode: Encoder) -> list:
    return [encode(item) for item in value]


def _pairs(value: Any, encode: Encoder) -> list:
    return [[encode(key), encode(item)] for key, item in value.items()]


def _dict(content: Any, decode: Encoder) -> dict:
    return {decode(key): decode(item) for key, item in content}


KINDS: dict[str, tuple[type, Callable[[Any, Encoder], Any], Callable[[Any, Encoder], Any]]] = {
    "int": (int, lambda value, _: hex(value), lambda content, _: int(content, 16)),
    "tuple": (tuple, _each, lambda content, decode: tuple(map(decode, content))),
    "dict": (dict, _pairs, _dict),
    "set": (set, _each, lambda content, decode: set(map(decode, content))),
    "frozenset": (frozenset, _each, lambda content, decode: frozenset(map(decode, content))),
    "bytes": (bytes, lambda value, _: value.decode("latin-1"), lambda content, _: content.encode("latin-1")),
    "bytearray": (
        bytearray,
        lambda value, _: value.decode("latin-1"),
        lambda content, _: bytearray(content, "latin-1"),
    ),
    "complex": (complex, lambda value, _: [value.real, value.imag], lambda content, _: complex(*map(float, content))),
    "range": (range, lambda value, _: [value.start, value.stop, value.step], lambda content, _: range(*content)),
    "Fraction": (
        Fraction,
        lambda value, _: [value.numerator, value.denominator],
        lambda content, _: Fraction(*content),
    ),
    "Decimal": (Decimal, lambda value, _: str(value), lambda content, _: Decimal(content)),
    "datetime": (
        datetime,
        lambda value, _: value.isoformat(),
        lambda content, _: datetime.fromisoformat(content),
    ),
    "date": (date, lambda value, _: value.isoformat(), lambda content, _: date.fromisoformat(content)),
    "time": (time, lambda value, _: value.isoformat(), lambda content, _: time.fromisoformat(content)),
    "timedelta": (
        timedelta,
        lambda value, _: [value.days, value.seconds, value.microseconds],
        lambda content, _: timedelta(*content),
    ),
    "Counter": (Counter, _pairs, lambda content, decode: Counter(_dict(content, decode))),
    "OrderedDict": (OrderedDict, _pairs, lambda content, decode: OrderedDict(_dict(content, decode))),
    "defaultdict": (defaultdict, _pairs, lambda content, decode: defaultdict(None, _dict(content, decode))),
    "deque": (
        deque,
        lambda value, encode: [value.maxlen, _each(value, encode)],
        lambda content, decode: deque(map(decode, content[1]), content[0]),
    ),
    "keys": (KEYS, _each, lambda content, decode: dict.fromkeys(map(decode, content)).keys()),
    "values": (VALUES, _each, lambda content, decode: dict(enumerate(map(decode, content))).values()),
    "items": (
        ITEMS,
        lambda value, encode: _pairs(dict(value), encode),
        lambda content, decode: _dict(content, decode).items(),
    ),
}
"""Each kind: its type, and how its content is written and read. JSON's own kinds are not here."""

NAMES = {kind: name for name, (kind, _, _) in KINDS.items()}
BASES = (str, bytes, int, float, list, tuple, dict, set, frozenset)
"""Literals with subclasses, whose content is a literal of the base."""


def encode(value: Any, refer: Callable[[Any], Any]) -> Any:
    """Returns JSON of a value. Only the very type is a literal: an instance of a subclass goes to `refer`."""
    kind = type(value)
    if value is None or kind in (bool, float, str) or (kind is int and -EXACT < value < EXACT):
        return value
    if kind is list:
        return [encode(item, refer) for item in value]
    if kind not in NAMES:
        return refer(value)
    name = NAMES[kind]
    return {name: KINDS[name][1](value, lambda item: encode(item, refer))}


def decode(content: Any, resolve: Callable[[str, Any], Any]) -> Any:
    """Returns the value of `content`; raises ValueError, TypeError or a like error if it is none."""
    if isinstance(content, list):
        return [decode(item, resolve) for item in content]
    if not isinstance(content, dict):
        return content
    ((name, inner),) = content.items()
    if name not in KINDS:
        return resolve(name, inner)
    return KINDS[name][2](inner, lambda item: decode(item, resolve))


def plain(value: Any) -> Any:
    """Returns the literal inside an instance of a literal's subclass, whatever its own methods say; None if there is none."""
    for base in BASES:
        if isinstance(value, base):
            if base in (str, int, float):
                return getattr(base, f"__{base.__name__}__")(value)
            return dict(dict.items(value)) if base is dict else base(base.__iter__(value))  # type: ignore[attr-defined]
    return None


def update(old: Any, new: Any) -> None:
    """Gives a mutable value the content that a program has left in its copy, and keeps what is inside where it fits."""
    if type(old) is not type(new):
        return
    if isinstance(old, tuple):
        for before, after in zip(old, new, strict=False):
            update(before, after)
    elif isinstance(old, list):
        for place, (before, after) in enumerate(zip(old, new, strict=False)):
            if type(before) is type(after) and isinstance(before, list | dict | set | deque):
                update(before, after)
            else:
                old[place] = after
        old[len(new) :] = new[len(old) :]
    elif isinstance(old, dict):
        kept = {key: old[key] for key in new if key in old}
        for key, item in kept.items():
            update(item, new[key])
        fitting = {key: kept[key] if key in kept and kept[key] == item else item for key, item in new.items()}
        old.clear()
        old.update(fitting)
    elif isinstance(old, bytearray):
        old[:] = new
    elif isinstance(old, set):
        old.clear()
        old.update(new)
    elif isinstance(old, deque):
        old.clear()
        old.extend(new)


def mutable(value: Any) -> bool:
    """Says whether a program could leave another content in this literal."""
    if isinstance(value, list | dict | set | bytearray | deque):
        return True
    return isinstance(value, tuple) and any(map(mutable, value))


def listed(iterator: Any, most: int = 1 << 17) -> list:
    """Returns the items of an iterator that comes to an end."""
    return list(islice(iterator, most))


def send(pipe: int, message: Any) -> None:
    """Writes one message; raises ValueError if it is too long."""
    body = json.dumps(message).encode()
    if len(body) > MOST:
        raise ValueError("the answer is too long")
    rest = memoryview(FRAME.pack(len(body)) + body)
    while rest:
        rest = rest[write_some(pipe, rest) :]


def receive(pipe: int) -> Any:
    """Reads one message; raises EOFError at the end, and ValueError if what comes is no message."""
    (length,) = FRAME.unpack(_exactly(pipe, FRAME.size))
    if length > MOST:
        raise ValueError("a message that is too long")
    return json.loads(_exactly(pipe, length))


def _exactly(pipe: int, count: int) -> bytes:
    content = b""
    while len(content) < count:
        if not (more := read_some(pipe, count - len(content))):
            raise EOFError
        content += more
    return content
