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
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class YosegiError(Exception):
    """Says what went wrong, what was given, and what would work."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else type(self).__name__  # LookupError would quote it


class UnknownName(YosegiError, LookupError):
    """An unknown name."""

    @classmethod
    def among(cls, what: str, name: str, known: Iterable[str]) -> "UnknownName":
        """Returns the error for `name`, with the nearest of the `known` names and all of them (the first forty)."""
        known = sorted(set(known))
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        there = ", ".join(known[:40]) + (f", … ({len(known)} in all)" if len(known) > 40 else "")
        return cls(f"No {what} is called {name!r}. {hint}There are: {there or 'none'}.")

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
                near = difflib.get_close_matches(str(problem["input"]), choices, n=1, cutoff=0.5)
                hint = f"Did you mean {near[0]!r}? " if near else ""
                faults.append(
                    f"--{name.replace('_', '-')}: {problem['input']!r} was given. {hint}There are: {', '.join(choices)}"
                )
            elif not name:  # two settings that do not go together
                faults.append(problem["msg"].removeprefix("Value error, "))
            else:
                faults.append(f"--{name.replace('_', '-')}: {problem['msg']} (given: {problem['input']!r})")
        raise Invalid("; ".join(faults) + ".") from error
