"""All errors, as one tree. Each is also the standard error that a caller would expect.

    YosegiError
      ├─ UnknownName    (LookupError)   no such router, expert, task …; names the nearest
      ├─ Invalid        (ValueError)    an argument, a shape or a file that cannot be right
      │    ├─ WrongBase                 an expert belongs to another base
      │    ├─ Corrupt                   a file on disk is damaged; names the file
      │    ├─ Refused                   an adapter that would not compute the same here
      │    ├─ NotFinite                 a model's logits are NaN or infinite; nothing is written
      │    └─ Diverged                  the loss became NaN or infinite; says at which step
      ├─ NoData         (FileNotFoundError)   data or weights are not here; says what to fetch and how
      └─ MissingExtra   (ImportError)   an optional dependency; says what to install

The command line prints the message of any of them as one line and exits with code 2.
"""

import difflib
import re
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

JOINERS = "\u200c\u200d"
LENGTH = 2000
"""How many characters of a message are shown. Values of strangers may stand in it, and may be anything."""


def shown(value: object, length: int = 200) -> str:
    """Returns a value as a message has it: as Python writes it, cut, in one line, without control characters."""
    text = printable(value[: 4 * length].__repr__() if isinstance(value, str) else _repr(value))
    return text if len(text) <= length else f"{text[: length - 1]}…"


def printable(text: str) -> str:
    """Returns a text in one line, without characters that a terminal obeys or that cannot be written."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        " "
        if one in "\n\t\r"
        else one
        if one in JOINERS or unicodedata.category(one) not in ("Cc", "Cf", "Cs", "Zl", "Zp")
        else f"\\u{ord(one):04x}"
        for one in text
    )


def _repr(value: object) -> str:
    """Returns what `repr` does; of nested values, and of long lists, only the beginning."""
    import reprlib

    writer = reprlib.Repr()
    writer.maxlist = writer.maxdict = writer.maxtuple = writer.maxset = 12
    writer.maxstring = writer.maxother = writer.maxlong = 200
    return writer.repr(value)


class YosegiError(Exception):
    """Says what went wrong, what was given, and what would work."""

    def __str__(self) -> str:
        text = printable(str(self.args[0])) if self.args else type(self).__name__  # LookupError would quote it
        return text if len(text) <= LENGTH else f"{text[:LENGTH]}… ({len(text) - LENGTH:,} more characters)"


class UnknownName(YosegiError, LookupError):
    """An unknown name."""

    @classmethod
    def among(cls, what: str, name: str, known: Iterable[str]) -> "UnknownName":
        """Returns the error for `name`, with the nearest of the `known` names and all of them (the first forty)."""
        known = sorted(set(known))
        near = difflib.get_close_matches(name[:200], known, n=1, cutoff=0.5)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        there = ", ".join(known[:40]) + (f", … ({len(known)} in all)" if len(known) > 40 else "")
        return cls(f"No {what} is called {shown(name)}. {hint}There are: {there or 'none'}.")

    @classmethod
    def check(cls, what: str, names: Iterable[str], known: Iterable[str]) -> None:
        """Raises the error for the first of `names` that is not known."""
        known = list(known)
        for name in names:
            if name not in known:
                raise cls.among(what, name, known)


class Invalid(YosegiError, ValueError):
    """An argument, a shape or a file that cannot be right."""


class WrongBase(Invalid):
    """An expert belongs to another base model."""


class Corrupt(Invalid):
    """A file on disk is damaged."""


class Refused(Invalid):
    """An adapter that would not compute the same here."""


class NotFinite(Invalid):
    """The logits of a model are not finite numbers."""


class Diverged(Invalid):
    """The loss is not a finite number any more."""


class NoData(YosegiError, FileNotFoundError):
    """Data or weights that are not on this machine."""


class MissingExtra(YosegiError, ImportError):
    """An optional dependency is not installed."""

    @classmethod
    def named(cls, package: str, extra: str) -> "MissingExtra":
        """Returns the error for a `package` that comes with an `extra`."""
        return cls(f"This needs {package!r}, which is not installed: pip install 'yosegi-lora[{extra}]'.")


@contextmanager
def in_one_line(known: Iterable[str] = ()) -> Iterator[None]:
    """Turns what pydantic finds wrong with settings into one line; `known` are the names one of which may be meant."""
    from pydantic import ValidationError

    try:
        yield
    except ValidationError as error:
        faults = []
        for problem in error.errors():
            name = ".".join(map(str, problem["loc"]))
            if problem["type"] == "extra_forbidden":
                near = difflib.get_close_matches(name, known, n=1)
                faults.append(f"unknown setting {name!r}" + (f" (did you mean {near[0]!r}?)" if near else ""))
            elif problem["type"] == "literal_error":
                choices = re.findall("'([^']*)'", problem.get("ctx", {}).get("expected", ""))
                near = difflib.get_close_matches(str(problem["input"])[:60], choices, n=1, cutoff=0.5)
                hint = f"Did you mean {near[0]!r}? " if near else ""
                faults.append(
                    f"--{name.replace('_', '-')}: {shown(problem['input'])} was given. {hint}There are: {', '.join(choices)}"
                )
            elif not name:  # two settings that do not go together
                faults.append(problem["msg"].removeprefix("Value error, "))
            else:
                fault = problem["msg"].removeprefix("Value error, ")
                faults.append(f"--{name.replace('_', '-')}: {fault} (given: {shown(problem['input'])})")
        raise Invalid("; ".join(faults) + ".") from error
