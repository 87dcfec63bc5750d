"""The program's side of a judgement: runs the program, then answers what the judge calls, until the judge ends.

It runs in the program's own process, so a program can do with it what it likes: nothing here is relied on. All that leaves is
messages of JSON, which the judge reads as literals.
"""

import builtins
import io
import json
import operator
import os
import random
import sys
import types
from contextlib import suppress
from typing import Any

from yosegi.sandbox import literals

ASKED, ANSWERS = 3, 4  # the pipes
LONGEST = 1 << 15  # characters of an answer to an expression
OPERATORS = (
    "eq ne lt le gt ge add sub mul truediv floordiv mod pow and_ or_ xor lshift rshift matmul neg pos abs invert "
    "getitem setitem delitem contains index"
)
FUNCTIONS = (
    "bool complex delattr float format getattr hash int isinstance iter len next repr reversed round setattr str"
)
DEEDS = {f"operator.{name}": getattr(operator, name) for name in OPERATORS.split()}
DEEDS |= {name: getattr(builtins, name) for name in FUNCTIONS.split()}
DEEDS |= {
    "seed": random.seed,
    "call": lambda function, *args, **named: function(*args, **named),
    "enter": lambda manager: type(manager).__enter__(manager),
    "exit": lambda manager: type(manager).__exit__(manager, None, None, None),
}


def live() -> None:
    """Runs the program that comes first through the pipe, says how that went, and answers until there is nothing more."""
    space = types.ModuleType("__main__")
    sys.modules["__main__"] = space
    text, names = literals.receive(ASKED)
    how, message = _begin(text, space.__dict__)
    answers = _Answers(space.__dict__)
    literals.send(ANSWERS, [how, message, answers.taken(names) if how == "ready" else {}])
    answers.serve()


def line(error: BaseException) -> str:
    """Returns an error as one line of at most 300 characters."""
    try:
        return f"{type(error).__name__}: {error}".split("\n")[0][:300].encode(errors="replace").decode()
    except BaseException:  # its own __str__ may be part of the attack
        return "an error without a message"


def kind(error: BaseException) -> str:
    """Returns what an error counts as."""
    if isinstance(error, MemoryError):
        return "memory"
    return "forbidden" if isinstance(error, PermissionError) else "exception"


def _begin(text: str, space: dict[str, Any]) -> list[str]:
    try:
        program = compile(text, "<program>", "exec", dont_inherit=True)
    except BaseException as error:
        return ["syntax", line(error)]
    try:
        exec(program, space)
    except MemoryError:
        return ["memory", "out of memory"]
    except BaseException as error:
        return [kind(error), line(error)]
    return ["ready", ""]


class _Answers:
    """What the judge can name: the program's objects that have left, by number, and what the tests have given to the program."""

    def __init__(self, space: dict[str, Any]):
        self.space = space
        self.objects: list[Any] = []
        self.numbers: dict[int, int] = {}
        self.given: dict[int, _Given] = {}
        self.lent: set[str] = set()

    def taken(self, names: list[str]) -> dict[str, Any]:
        """Returns those of the names that the program has defined."""
        there = {}
        for name in names:
            with suppress(Exception):
                there[name] = self.encode(self.space[name])
        return there

    def serve(self) -> None:
        while True:
            try:
                token, *request = literals.receive(ASKED)
            except EOFError:
                return
            self.reply(token, *request)

    def reply(self, token: str, deed: str, args: list, names: list, typed: str | None, captured: bool) -> None:
        """Does one thing; answers with what came of it, and with what it left in its arguments, took from stdin and printed."""
        start, changed, stdin = _printed(), [], sys.stdin
        if typed is not None:
            sys.stdin = io.StringIO(typed)
        try:
            values = [self.decode(arg) for arg in args]
            ordered, named = values[: len(values) - len(names)], values[len(values) - len(names) :]
            if deed == "get":
                answer = self.encode(self.space[values[0]])
            elif deed == "ask":
                answer = _expression(values[0], self.space)
            else:
                answer = self.encode(DEEDS[deed](*ordered, **dict(zip(names, named, strict=True))))
            for place, (value, before) in enumerate(zip(values, args, strict=True)):
                if deed == "call" and literals.mutable(value) and (after := self.encode(value)) != before:
                    changed.append([place, after])
            row = [token, "value", answer, changed]
        except BaseException as error:
            row = [token, "raise", self.error(error), []]
        row += [sys.stdin.tell() if typed is not None else 0, _heard(start, captured)]
        sys.stdin = stdin
        try:
            literals.send(ANSWERS, row)
        except ValueError as error:
            literals.send(ANSWERS, [token, "raise", self.error(error), [], 0, ""])

    def encode(self, value: Any) -> Any:
        return literals.encode(value, self.refer)

    def decode(self, content: Any) -> Any:
        return literals.decode(content, self.resolve)

    def refer(self, value: Any) -> Any:
        """Gives an object a number; with it goes what it holds if it is a literal of a class of its own."""
        if isinstance(value, _Given):
            return {"local": value.number}
        name = value.__name__ if isinstance(value, type | types.BuiltinFunctionType) else ""
        if getattr(builtins, name, None) is value and (isinstance(value, type) or name in self.lent):
            return {"builtin": name}
        row: dict[str, Any] = {"number": self.number(value)}
        if isinstance(value, type) and issubclass(value, BaseException):
            row["raises"] = self.lineage(value)
        if (inner := literals.plain(value)) is not None:
            row["plain"] = self.encode(inner)
        return {"object": row}

    def number(self, value: Any) -> int:
        if (key := id(value)) not in self.numbers:
            self.numbers[key] = len(self.objects)
            self.objects.append(value)
        return self.numbers[key]

    def resolve(self, name: str, content: Any) -> Any:
        if name == "object":
            return self.objects[content]
        if name == "builtin":
            self.lent.add(content)
            return getattr(builtins, content)
        if name == "iterator":
            return iter(self.decode(content))
        return self.given.setdefault(content, _Given(self, content))

    def lineage(self, kind: type) -> list:
        return [
            [one.__module__, one.__name__, self.number(one)] for one in kind.__mro__ if issubclass(one, BaseException)
        ]

    def error(self, error: BaseException) -> dict[str, Any]:
        row: dict[str, Any] = {"raises": self.lineage(type(error)), "line": line(error), "args": [], "attributes": {}}
        for part, content in (("args", error.args), ("attributes", error.__dict__)):
            try:
                row[part] = self.encode(list(content) if part == "args" else dict(content))
            except BaseException:
                row[part] = [] if part == "args" else {"dict": []}
        try:
            row["text"] = str.__str__(str(error))
        except BaseException:
            row["text"] = None
        return row


class _Given:
    """A function of the tests, as the program has it: each call goes back to the judge."""

    def __init__(self, answers: _Answers, number: int):
        self.answers, self.number = answers, number

    def __call__(self, *args: Any, **named: Any) -> Any:
        answers = self.answers
        words = {key: answers.encode(value) for key, value in named.items()}
        literals.send(ANSWERS, ["", "back", self.number, [answers.encode(value) for value in args], words])
        while True:
            token, *message = literals.receive(ASKED)
            if token:  # the function of the tests asks something of the program in its turn
                answers.reply(token, *message)
            elif message[0] == "value":
                return answers.decode(message[1])
            else:
                raised = getattr(builtins, message[1], Exception)
                raise raised(*answers.decode(message[2]))


def _expression(text: str, space: dict[str, Any]) -> str:
    """Returns the value of an expression as JSON. Fractions and decimals become floats; the rest must be JSON already."""
    value = eval(text, space)
    if type(value).__name__ in ("Fraction", "Decimal") and type(value).__module__ in ("fractions", "decimal"):
        value = float(value)
    if len(answer := json.dumps(value, allow_nan=False)) > LONGEST:
        raise ValueError("the answer is too long")
    return answer


def _printed() -> int:
    """Returns where the program's output ends, all of it written."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    return os.lseek(1, 0, os.SEEK_CUR)


def _heard(start: int, captured: bool) -> str:
    if (end := _printed()) == start or not captured:
        return ""
    os.lseek(1, start, os.SEEK_SET)
    text = os.read(1, min(end - start, literals.MOST >> 4)).decode(errors="replace")
    os.lseek(1, end, os.SEEK_SET)
    return text
