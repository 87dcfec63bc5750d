"""What others wrote (JSON, YAML, regular expressions), read within limits; what is beyond them is refused in one line."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

from yosegi.errors import Corrupt, Invalid, shown

BYTES = 256 << 20
"""A JSON file larger than this is not read whole."""
YAML_BYTES = 1 << 20
DEPTH = 64
"""How deep lists and dictionaries may be nested."""
NODES = 100_000
"""How many values a YAML file may have, those counted again that an alias repeats."""
PATTERN = 1000
"""How long a regular expression may be."""
SECONDS = 2.0
"""How long all matches of one regular expression may take together."""


def read_json(text: str | bytes, place: str, limit: int = BYTES) -> Any:
    """Returns the value of a JSON text.

    Args:
        text: the text, or its bytes in UTF-8.
        place: the file, the line or the address that a message names.
        limit: the size in bytes beyond which it is not read.

    Raises:
        Corrupt: it is not JSON, too large, nested too deeply, has a number of thousands of digits, a key twice, or half a
            character (a surrogate without its pair).
    """
    if len(text) > limit:
        raise Corrupt(f"{place} has {len(text):,} bytes; up to {limit:,} are read.")
    try:
        value = json.loads(text, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise Corrupt(f"{place} is not valid JSON ({_cause(error)}).") from error
    check(value, place, halves(text))
    return value


def read_yaml(text: str, place: str) -> Any:
    """Returns the value of a YAML text: plain values, lists, and dictionaries whose keys are texts.

    Raises:
        Invalid: it is not YAML, has more than a megabyte, is nested too deeply, or an alias makes it endless or huge.
    """
    import yaml

    if len(text) > YAML_BYTES:
        raise Invalid(f"{place} has {len(text):,} characters; up to {YAML_BYTES:,} are read.")
    try:
        value = _loader()(text).get_single_data()
    except (
        yaml.YAMLError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        ArithmeticError,
        RecursionError,
    ) as error:
        # PyYAML's own constructors raise these, as of an `!!int` without digits
        raise Invalid(f"{place} is not valid YAML: {_cause(error)}.") from error
    try:
        check(value, place, aliases=True)
    except Corrupt as error:
        raise Invalid(str(error)) from error
    return value


class Pattern:
    """A regular expression as Python has them, whose matches have two seconds in all.

    Args:
        text: the expression.
        place: what a message calls it.
        clock: another expression that it shares the two seconds with.

    Raises:
        Invalid: it is no regular expression, or too long; when matching, that it takes too long.
    """

    def __init__(self, text: object, place: str, clock: "Pattern | None" = None):
        import regex

        self.text, self.place, self._spent = text, place, [0.0] if clock is None else clock._spent
        if not isinstance(text, str):
            raise Invalid(f"{place} {shown(text)} is not a regular expression.")
        if len(text) > PATTERN:
            raise Invalid(f"{place} has {len(text):,} characters; a regular expression has up to {PATTERN:,}.")
        try:
            self._compiled = regex.compile(text)
        except (regex.error, RecursionError, OverflowError, ValueError) as error:
            raise Invalid(f"{place} {shown(text)} is not a regular expression ({_cause(error)}).") from error

    def fullmatch(self, subject: str) -> bool:
        """Returns whether it matches the whole of a text."""
        return self._within(self._compiled.fullmatch, subject)

    def search(self, subject: str) -> bool:
        """Returns whether it matches somewhere in a text."""
        return self._within(self._compiled.search, subject)

    def _within(self, match: Callable[..., object], subject: str) -> bool:
        began, left = time.monotonic(), SECONDS - self._spent[0]
        try:
            if left <= 0:
                raise TimeoutError
            return match(subject, timeout=left) is not None
        except TimeoutError as error:
            raise Invalid(f"{self.place} {shown(self.text)} takes too long to match {shown(subject, 60)}.") from error
        finally:
            self._spent[0] += time.monotonic() - began


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Returns a JSON object; of a key that is there twice json.loads would take the last without a word."""
    row = dict(pairs)
    if len(row) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {shown(next(key for key in keys if keys.count(key) > 1), 60)} is there twice")
    return row


def _cause(error: BaseException) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if "integer string conversion" in str(error):
        return "a number has thousands of digits"
    return " ".join(str(error).split())[:200]


def halves(text: str | bytes) -> bool:
    """Returns whether a JSON text writes characters in halves, one of which may be alone.

    In bytes that may also be a half itself (which begins as Korean does), or all of UTF-16: Python's decoder lets halves pass.
    """
    if isinstance(text, str):
        return "\\ud" in text or "\\uD" in text
    return any(one in text for one in (b"\\ud", b"\\uD", b"\xed", b"\0"))


def check(value: Any, place: str, halved: bool = False, aliases: bool = False) -> None:
    """Refuses what is nested too deeply, endless, or cannot be written again.

    Args:
        value: plain values, lists and dictionaries.
        place: what a message calls it.
        halved: whether a text of it may hold half a character.
        aliases: whether one list may be there many times, or inside itself.

    Raises:
        Corrupt: says which of these it is.
    """
    level, depth, nodes = [value], 0, 0
    while level:
        depth, nodes = depth + 1, nodes + len(level)
        if depth > DEPTH:
            raise Corrupt(f"{place} is nested more than {DEPTH} deep.")
        if aliases and nodes > NODES:
            raise Corrupt(f"{place} has more than {NODES:,} values; aliases that repeat others are counted again.")
        level = [inner for one in level for inner in _inside(one)]
    if halved:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise Corrupt(f"{place} holds half a character: a surrogate without its pair.") from error


def _inside(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _loader() -> Any:
    """Returns PyYAML's safe loader; it refuses keys that are no texts, and keys that are there twice."""
    import yaml

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            keys = [self.construct_object(key, deep=True) for key, _ in node.value if key.tag != MERGE]
            for key in keys:
                if not isinstance(key, str):
                    raise yaml.constructor.ConstructorError(None, None, f"the key {shown(key, 60)} is not a text")
            if twice := next((key for key in keys if keys.count(key) > 1), None):
                raise yaml.constructor.ConstructorError(None, None, f"the key {shown(twice, 60)} is there twice")
            return super().construct_mapping(node, deep)

    return Loader


MERGE = "tag:yaml.org,2002:merge"
