"""What tests hold of a program's objects: a number, and the methods that ask the program."""

import unittest
from collections.abc import Callable
from contextlib import suppress
from typing import Any


class Remote:
    """An object that stays with the program. It does what the program says, but it is not compared with literals there."""

    __slots__ = ("_inner", "_number", "_program")

    def __init__(self, program: Any, number: int, inner: Any):
        for slot, value in (("_program", program), ("_number", number), ("_inner", inner)):
            object.__setattr__(self, slot, value)

    def __getattr__(self, name: str) -> Any:
        return self._program.do("getattr", self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._program.do("setattr", self, name, value)

    def __delattr__(self, name: str) -> None:
        self._program.do("delattr", self, name)

    def __instancecheck__(self, instance: Any) -> bool:
        return isinstance(instance, Remote) and bool(self._program.do("isinstance", instance, self))

    def __call__(self, /, *args: Any, **named: Any) -> Any:  # noqa: D102
        return self._program.do("call", self, *args, *named.values(), names=tuple(named))

    def __exit__(self, *_: Any) -> Any:
        return self._program.do("exit", self)

    def __iter__(self) -> Any:
        remote = self._program.do("iter", self)
        if not isinstance(remote, Remote):
            return iter(remote)
        return remote if remote is self else _Steps(remote)

    def __contains__(self, item: Any) -> bool:
        if "__contains__" in self._program.operators:
            return bool(self._program.do("operator.contains", self, item))
        return any(item is one or item == one for one in self)

    def __hash__(self) -> int:
        if {"__hash__", "__eq__"} & self._program.operators:
            return int(self._program.do("hash", self))
        return hash((Remote, self._number))

    def __eq__(self, other: Any) -> Any:
        return self is other or self._compare("eq", other)

    def __ne__(self, other: Any) -> Any:
        if not isinstance(other, Remote) or "__ne__" not in self._program.operators:
            return not self == other
        return self is not other and bool(self._program.do("operator.ne", self, other))

    def _compare(self, name: str, other: Any) -> Any:
        """Compares two objects of the program as it says, if the reference solution's can be, and never one with a literal."""
        if not isinstance(other, Remote):
            return NotImplemented if self._inner is None else getattr(self._inner, f"__{name}__")(other)
        if f"__{name}__" not in self._program.operators:
            return NotImplemented
        answer = bool(self._program.do(f"operator.{name}", self, other))
        if answer and name == "eq":  # what is equal to everything is equal to nothing
            with suppress(Exception):
                answer = not self._program.do("operator.eq", self, _stranger)
        return answer


class _Steps:
    """Steps through an iterator of the program."""

    def __init__(self, remote: Any):
        self.remote = remote

    def __iter__(self) -> "_Steps":
        return self

    def __next__(self) -> Any:
        return next(self.remote)


def _stranger() -> None:
    """An object that nothing of the program is equal to."""


def _order(name: str) -> Callable:
    return lambda self, other: self._compare(name, other)


def _unary(deed: str) -> Callable:
    return lambda self, *args: self._program.do(deed, self, *args)


def _binary(name: str, deed: str, reflected: bool) -> Callable:
    methods = {f"__{name}__", f"__r{name}__"}

    def answer(self: Remote, other: Any) -> Any:
        if not methods & self._program.operators:
            return NotImplemented
        return self._program.do(deed, *((other, self) if reflected else (self, other)))

    return answer


BINARY = "add sub mul truediv floordiv mod pow and or xor lshift rshift matmul"
UNARY = (
    "bool complex float format int len next repr reversed round str enter "
    "operator.neg operator.pos operator.abs operator.invert operator.index operator.getitem operator.setitem operator.delitem"
)
for _name in ("lt", "le", "gt", "ge"):
    setattr(Remote, f"__{_name}__", _order(_name))
for _deed in UNARY.split():
    setattr(Remote, f"__{_deed.removeprefix('operator.')}__", _unary(_deed))
for _name in BINARY.split():
    _deed = f"operator.{_name}_" if _name in ("and", "or") else f"operator.{_name}"
    setattr(Remote, f"__{_name}__", _binary(_name, _deed, False))
    setattr(Remote, f"__r{_name}__", _binary(_name, _deed, True))

_almost = unittest.TestCase.assertAlmostEqual


def almost_equal(self: unittest.TestCase, first: Any, second: Any, *args: Any, **named: Any) -> None:
    """Does as assertAlmostEqual, but not between an object and a number: their difference would be for the program to say."""
    if isinstance(first, Remote) != isinstance(second, Remote):
        raise self.failureException("an object of the program is not almost equal to a number")
    _almost(self, first, second, *args, **named)
