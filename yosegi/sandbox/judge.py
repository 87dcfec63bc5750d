"""The judge's side: runs tests against a program that lives in another process.

What the tests take from the program are proxies. A call goes through a pipe as literals and comes back as literals, so what the
tests compare is made here, of Python's own types, and what they expect never leaves this process. An object that is no literal
stays there; the tests hold its number, can call it, iterate over it and read what it has. It is equal to nothing but itself:
only where the reference solution itself defines operators (`operators`) may the program's objects answer for themselves, and
then never when they are compared with a literal.
"""

import builtins
import io
import json
import random
import secrets
import sys
import types
import unittest
from collections.abc import Iterator
from typing import Any, cast

from yosegi.sandbox import literals
from yosegi.sandbox.program import kind, line
from yosegi.sandbox.remote import Remote, almost_equal

CALLS, REPLIES = 3, 4  # the pipes
UNTRUSTED = ("unittest", "doctest")  # whose exceptions mean something to the tests: skipped, interrupted


class Broken(BaseException):
    """The program has ended, or says what no honest one says."""


def judge(job: dict[str, Any]) -> dict[str, Any]:
    """Returns {"value": …} of what is asked after the tests have passed, else {"error": …, "message": …}."""
    program, check = Program(), job["check"] or {}
    try:
        how, message, names = program.begin(job["program"], check.pop("names", []))
        if how != "ready":
            return {"error": how, "message": message}
        if check:
            _run(program, names, **check)
        answer = {"value": program.ask(job["ask"])}
    except BaseException as error:
        text = "out of memory" if kind(error) == "memory" else getattr(error, "_line", None) or line(error)
        answer = {"error": kind(error), "message": text}
    if program.broken:  # whatever the tests made of that
        return {"error": program.broken, "message": "its answer cannot be read"}
    return answer


def _run(program: "Program", names: dict[str, Any], code: str, before: str, module: str, operators: list[str]) -> None:
    """Runs the tests; raises what they raise."""
    program.operators = frozenset(operators)
    unittest.TestCase.assertAlmostEqual = almost_equal  # type: ignore[method-assign]
    seed = random.seed

    def seed_both(*args: Any) -> None:
        seed(*args)
        program.do("seed", *args)

    seed(code)  # which the program does not know
    random.seed = seed_both  # tests that seed mean the program's numbers, too
    space = types.ModuleType("__main__")
    sys.modules["__main__"] = space
    exec(compile(before, "<before>", "exec", dont_inherit=True), space.__dict__)
    space.__dict__.update(names)
    if module:
        sys.modules[module] = _Module(program, module)
    exec(compile(code, "<check>", "exec", dont_inherit=True), space.__dict__)


class _Module(types.ModuleType):
    """The program as a module that the tests import."""

    def __init__(self, program: "Program", name: str):
        super().__init__(name)
        self.__dict__["_program"] = program

    def __getattr__(self, name: str) -> Any:
        if name[:2] == "__":
            raise AttributeError(name)
        try:
            return self._program.do("get", name)
        except KeyError:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}") from None


class Program:
    """The program at the other end of the pipes."""

    def __init__(self):
        self.operators: frozenset[str] = frozenset()
        self.broken = ""
        self.proxies: dict[int, Any] = {}
        self.given: list[Any] = []
        self.lent: set[str] = set()
        self.raised: dict[int, type[BaseException]] = {}
        self.streams = sys.stdin, sys.stdout

    def write(self, message: Any) -> None:
        """Sends a message; raises Broken if nobody reads it."""
        try:
            literals.send(CALLS, message)
        except OSError:
            raise self.end("ended") from None

    def read(self) -> Any:
        """Returns the next message; raises Broken if none comes, or none that can be read."""
        try:
            return literals.receive(REPLIES)
        except EOFError:
            raise self.end("ended") from None
        except (ValueError, RecursionError, OSError):
            raise self.end("died") from None

    def end(self, how: str) -> Broken:
        """Notes that the program has "ended", or has "died" as far as the tests are concerned, which nothing mends."""
        self.broken = self.broken or how
        return Broken("the program has ended" if how == "ended" else "its answer cannot be read")

    def begin(self, text: str, names: list[str]) -> tuple[str, str, dict[str, Any]]:
        """Has the program run. Returns "ready", or what it counts as and its message, and those of the names that it defines."""
        self.write([text, names])
        match self.read():
            case ["ready", "", dict(there)]:
                try:
                    return "ready", "", {name: self.decode(there[name]) for name in names if name in there}
                except Exception:
                    raise self.end("died") from None
            case [("syntax" | "exception" | "forbidden" | "memory") as how, str(message), {}]:
                return how, message[:300], {}
        raise self.end("died")

    def ask(self, expression: str) -> Any:
        """Returns the value of an expression as the program has it. It is JSON."""
        if expression == "None":
            return None
        try:
            return json.loads(self.do("ask", expression))
        except (ValueError, TypeError) as error:
            if hasattr(error, "_line"):  # the program's own
                raise
            raise self.end("died") from None

    def do(self, deed: str, *values: Any, names: tuple[str, ...] = ()) -> Any:
        """Has the program do something with values, the last of them by name; returns or raises what comes of it."""
        if self.broken:
            raise Broken("the program has ended")
        token = secrets.token_hex(8)
        begun = sys.stdin.tell() if sys.stdin is not self.streams[0] else 0
        typed = sys.stdin.read() if sys.stdin is not self.streams[0] else None
        self.write(
            [
                token,
                deed,
                [self.encode(value) for value in values],
                names,
                typed,
                sys.stdout is not self.streams[1],
            ]
        )
        while isinstance(answer := self.read(), list) and answer[:2] == ["", "back"]:
            self._back(answer)
        try:
            echo, state, content, changed, taken, printed = answer
            if echo != token or state not in ("value", "raise"):
                raise ValueError("not what was asked")
            value = self.decode(content) if state == "value" else self.error(content)
            for place, after in changed:
                literals.update(values[place], self.decode(after))
            if typed is not None:
                sys.stdin.seek(begun)
                sys.stdin.read(int(taken))
            if printed:
                sys.stdout.write(printed)
        except Exception as error:
            raise error if isinstance(error, MemoryError) else self.end("died") from None
        if state == "value":
            return value
        if isinstance(value, StopIteration) and deed != "next":  # it would end the loops of the tests
            raise RuntimeError("the program raised StopIteration")
        raise value

    def _back(self, message: list) -> None:
        """Calls a function that the tests have given to the program, for the program."""
        try:
            _, _, number, args, named = message
            function = self.given[number]
            values, words = [self.decode(one) for one in args], {name: self.decode(one) for name, one in named.items()}
        except Exception:
            raise self.end("died") from None
        try:
            answer = ["", "value", self.encode(function(*values, **words))]
        except Exception as error:
            answer = ["", "raise", type(error).__name__, self.encode([str(part) for part in error.args])]
        self.write(answer)

    def encode(self, value: Any) -> Any:
        """Returns a value as JSON."""
        return literals.encode(value, self.refer)

    def decode(self, content: Any) -> Any:
        """Returns the value of JSON, in which the program can have written anything."""
        return literals.decode(content, self.resolve)

    def refer(self, value: Any) -> Any:
        """Of what the tests give to the program: its own objects, builtins, iterators, and functions that it may call."""
        if isinstance(value, Remote):
            return {"object": value._number}
        if isinstance(value, type) and value in self.raised.values():
            return {"object": next(number for number, one in self.raised.items() if one is value)}
        if getattr(builtins, getattr(value, "__name__", ""), None) is value:
            self.lent.add(value.__name__)
            return {"builtin": value.__name__}
        if isinstance(value, Iterator) and not isinstance(value, io.IOBase):
            return {"iterator": self.encode(literals.listed(value))}
        if (inner := literals.plain(value)) is not None:
            return self.encode(inner)
        if not callable(value):
            raise TypeError(f"the tests give the program a {type(value).__name__}, which cannot be sent to it")
        for number, one in enumerate(self.given):
            if one is value or (isinstance(value, types.MethodType) and one == value):
                return {"local": number}
        self.given.append(value)
        return {"local": len(self.given) - 1}

    def resolve(self, name: str, content: Any) -> Any:
        """Of what the program answers with: its objects by number, builtin classes, and what the tests have given to it."""
        if name == "builtin":
            if isinstance(value := getattr(builtins, content), type) or content in self.lent:
                return value
            raise ValueError(content)
        if name == "local":
            return self.given[content]
        if name != "object":
            raise ValueError(name)
        number = content["number"]
        if not isinstance(number, int) or isinstance(number, bool) or number < 0:
            raise ValueError(number)
        if "raises" in content:
            return self.exception(content["raises"])
        if "plain" in content and not self.operators:
            return self.decode(content["plain"])
        if number not in self.proxies:
            inner = self.decode(content["plain"]) if "plain" in content else None
            self.proxies[number] = Remote(self, number, inner)
        elif "plain" in content:
            object.__setattr__(self.proxies[number], "_inner", self.decode(content["plain"]))
        return self.proxies[number]

    def exception(self, lineage: list) -> type[BaseException]:
        """Returns the class of an exception: Python's own by its name, or one made here, with its bases."""
        made: type[BaseException] = Exception
        for module, name, number in reversed(lineage):
            package = module.split(".")[0]
            trusted = package in sys.stdlib_module_names and package not in UNTRUSTED
            known = getattr(sys.modules.get(module), name, None) if trusted else None
            if isinstance(known, type) and issubclass(known, BaseException):
                made = known
                continue
            if number not in self.raised:
                content: dict[str, Any] = {"__module__": str(module), "__str__": _text}
                self.raised[number] = cast(type[BaseException], type(str(name), (made,), content))
            made = self.raised[number]
        return made

    def error(self, content: Any) -> BaseException:
        """Returns the exception that the program has raised."""
        kind = self.exception(content["raises"])
        args = self.decode(content["args"])
        try:
            error = kind(*args)
        except Exception:
            error = kind.__new__(kind, *args)
        for name, value in self.decode(content["attributes"]).items():
            if name[:2] != "__":
                setattr(error, name, value)
        error._line = str(content["line"])[:300]  # type: ignore[attr-defined]
        error._text = content["text"]  # type: ignore[attr-defined]
        return error


def _text(error: Any) -> str:
    text = getattr(error, "_text", None)
    return text if isinstance(text, str) else Exception.__str__(error)
