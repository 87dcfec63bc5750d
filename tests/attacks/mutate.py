"""Makes inputs that nobody meant: values of JSON, bytes and texts, changed at random from good ones."""

import copy
import json
import random
from typing import Any

NUMBERS = [
    0,
    -1,
    1,
    2**31,
    2**53 + 1,
    2**63,
    10**20,
    10**400,
    0.5,
    -0.0,
    1e308,
    5e-324,
    float("nan"),
    float("inf"),
    -float("inf"),
    True,
]
TEXTS = [
    "", " ", "\n", "null", "nan", "-1", "1e999", "０１２", "a" * 300, "é" * 5000, "\x1b[31mred\x1b[0m", "\x00", "\u202eabc", "\ud800",
    "../../etc/passwd", "/etc/hostname", "a/b", ".", "..", "~root", "(a+)+$", "(.*)*x", "(", "[", "{", "}", "*", "a*1e400", "a**b",
    "{{7*7}}", "{% for x in 1 %}", "%s%n", "$HOME", "`true`", "'\"", "\\", "system", "hf:", "file/", "base", "none", "__class__", "😀",
    "\u2028", "a\r\nb", "\ufeff", "0x10", "1_000", "a=b", "a,b", "ａ", "e\u0301", "\udc80", "-", "--help", "#", "&a", "!!python/name:os.system",
]  # fmt: skip
BYTES = [
    b"\x00", b"\xff\xfe", b"\x1f\x8b", b"PAR1", b"PK\x03\x04", b"\xef\xbb\xbf", b"\r", b"\n\n", b'"', b"{", b"}", b"[" * 500, b"]", b",",
    b":", b"\t", b"\\ud800", b"9" * 5000, b"1e999", b"NaN", b"-", b"null", b"\xc3", b"&a [*a]", b"<<: *a", b"? ", b"|", b"%YAML", b"\x1b[31m",
    b"\x7f\xff\xff\xff\xff\xff\xff\xff", b"'", b"#", b"!!int",
]  # fmt: skip


def deep(chance: random.Random) -> Any:
    """Returns lists or objects inside each other."""
    value: Any = 1
    for _ in range(chance.choice([5, 63, 70, 200])):
        value = [value] if chance.random() < 0.5 else {"a": value}
    return value


def nasty(chance: random.Random) -> Any:
    """Returns a value of JSON that a reader may not have thought of."""
    kind = chance.randrange(8)
    if kind < 3:
        return chance.choice(TEXTS)
    if kind < 5:
        return chance.choice(NUMBERS)
    return [
        None,
        deep(chance) if chance.random() < 0.3 else [],
        {},
        [chance.choice(TEXTS), None],
        {chance.choice(TEXTS): 1},
    ][chance.randrange(5)]


def value(chance: random.Random, good: Any, changes: int = 0) -> Any:
    """Returns a copy of a JSON value with some of its parts replaced, deleted, added, or put elsewhere."""
    holder = [copy.deepcopy(good)]
    for _ in range(changes or chance.choice([1, 1, 1, 2, 3])):
        places = [(holder, 0), *_places(holder[0])]
        inside, key = chance.choice(places)
        act = chance.randrange(6)
        if act < 4:
            inside[key] = nasty(chance) if act else copy.deepcopy(chance.choice(places)[0])
        elif inside is holder:
            inside[key] = nasty(chance)
        elif act == 4 and isinstance(inside, dict):
            inside[chance.choice(TEXTS)] = inside.pop(key) if chance.random() < 0.5 else nasty(chance)
        else:
            inside.pop(key)
    return holder[0]


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Returns every container of a value with each of its keys."""
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [place for key in keys for place in [(value, key), *_places(value[key])]][:500]


def written(chance: random.Random, value: Any) -> bytes:
    """Returns a value as JSON, with halves of characters and numbers that JSON does not know where it has them."""
    text = json.dumps(value, ensure_ascii=chance.random() < 0.7)
    return text.encode("utf-8", "surrogatepass")


def content(chance: random.Random, good: bytes) -> bytes:
    """Returns bytes that were changed, cut, doubled or filled with others."""
    made = bytearray(good)
    for _ in range(chance.choice([1, 1, 2, 4, 16])):
        at = chance.randrange(len(made) + 1)
        to = min(len(made), at + chance.choice([1, 1, 2, 8, 64]))
        act = chance.randrange(7)
        if act == 0 and at < len(made):
            made[at] ^= 1 << chance.randrange(8)
        elif act == 1:
            made[at:to] = chance.randbytes(to - at)
        elif act == 2:
            del made[at:to]
        elif act == 3:
            made[at:at] = made[at:to] * chance.choice([1, 2, 50])
        elif act == 4:
            del made[at:]
        else:
            made[at:at] = chance.choice(BYTES)
    return bytes(made)


def text(chance: random.Random, good: str) -> str:
    """Returns a text that was changed likewise."""
    made = good
    for _ in range(chance.choice([1, 1, 2, 4])):
        at = chance.randrange(len(made) + 1)
        to = min(len(made), at + chance.choice([0, 1, 1, 3, 10]))
        made = made[:at] + chance.choice([*TEXTS, "", "", *"{}()[]=,*+\"'", made[at:to] * 3]) + made[to:]
    return made
