"""How a method and its arguments are written, everywhere the same: NAME{key=value,…}.

    galore{update_gap=50}      skills{part=add}      perplexity{base=smollm2,windows=2}      softmax{top_k=null}

Values are numbers, true, false, null, lists [a,b], dictionaries {a=1}, "quoted" or plain words. The annotation of the constructor
says which is meant: `name=7` is a text where the constructor takes a text. Written out again, a spec reads back as the same.
"""

import inspect
import json
import math
import re
import types
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from yosegi import registry
from yosegi.errors import Invalid, UnknownName

PASSED = {"inits": 4, "masks": 1, "merges": 3, "objectives": 3, "optimizers": 3, "partitions": 1, "rewards": 3}
"""How many arguments of a drawer's functions the machine passes itself: they come first, and are not written in a spec."""
OPTIMIZER = ("params", "lr", "weight_decay")
"""What the machine passes to an optimizer, wherever these stand."""
SPECIAL = '+*(){}[],="'
LISTS = (list, tuple, Sequence, Collection, Iterable)
Vary = Callable[[Any, Callable[[Any], Any]], Any]
"""Takes a value as it is written, and the function that makes a value of the type of its argument."""
CLOSING = {"(": ")", "{": "}", "[": "]"}
PLAIN = re.compile(r"[^\W\d]|[\w./@~%-][\w./@~% -]*[\w./@~%-]")
"""A text that needs no quotes."""


class Quoted(str):
    """A text that was written in quotes: never a number, true or null."""


class Reader:
    """Reads a spec from left to right."""

    def __init__(self, text: str):
        self.text, self.at = text, 0

    def fail(self, wanted: str) -> Invalid:
        """Returns the error for what stands here."""
        rest = self.text[self.at :].strip()
        return Invalid(
            f"{self.text!r} is not a spec: {wanted} is expected {f'before {rest!r}' if rest else 'at its end'}."
        )

    def peek(self) -> str:
        """Returns the next character that is not a space; "" at the end."""
        while self.text[self.at : self.at + 1].isspace():
            self.at += 1
        return self.text[self.at : self.at + 1]

    def take(self, character: str) -> bool:
        """Moves past this character if it comes next."""
        present = self.peek() == character
        self.at += present
        return present

    def expect(self, character: str) -> None:
        """Moves past this character, which has to come next."""
        if not self.take(character):
            raise self.fail(f"{character!r}")

    def end(self) -> None:
        """Raises an error if anything follows."""
        if self.peek():
            raise self.fail("nothing more")

    def word(self, what: str = "a name") -> str:
        """Returns a quoted text, or everything up to the next special character."""
        if self.peek() == '"':
            return self._quoted()
        start = self.at
        while self.at < len(self.text) and self.text[self.at] not in SPECIAL:
            self.at += 1
        if not (word := self.text[start : self.at].strip()):
            raise self.fail(what)
        return word

    def options(self) -> dict[str, Any]:
        """Returns {key=value,…}, if it comes next, with its values as they are written."""
        pairs = self._items("}", self._pair) if self.take("{") else []
        for key in (keys := [key for key, _ in pairs]):
            if keys.count(key) > 1:
                raise Invalid(f"{self.text!r}: {key} is given twice.")
        return dict(pairs)

    def _items(self, end: str, read: Callable[[], Any]) -> list[Any]:
        """Returns items with commas between them, up to the closing bracket."""
        items: list[Any] = []
        while not self.take(end):
            items.append(read())
            if not self.take(","):
                self.expect(end)
                break
        return items

    def _pair(self) -> tuple[str, Any]:
        key = self.word("a key")
        self.expect("=")
        return key, self.value()

    def value(self) -> Any:
        """Returns a value as it is written: a text, a list or a dictionary of texts."""
        if self.peek() == "{":
            return self.options()
        if self.take("["):
            return self._items("]", self.value)
        if self.peek() == '"':
            return self._quoted()
        start, open_ = self.at, list[str]()
        while self.at < len(self.text):
            character = self.text[self.at]
            if not open_ and character in ",}]":
                break
            if character in CLOSING:
                open_.append(CLOSING[character])
            elif open_ and character == open_[-1]:
                open_.pop()
            self.at += 1
        if not (value := self.text[start : self.at].strip()):
            raise self.fail("a value")
        return value

    def _quoted(self) -> Quoted:
        try:
            value, self.at = json.JSONDecoder().raw_decode(self.text, self.at)
        except json.JSONDecodeError:
            raise self.fail("a closing quote") from None
        return Quoted(value)


def read(text: str) -> tuple[str, dict[str, Any]]:
    """Returns the name and the arguments as they are written; `typed` says what they mean."""
    reader = Reader(text)
    name, options = reader.word(), reader.options()
    reader.end()
    return name, options


def parse_method(kind: str, text: str, vary: Vary | None = None) -> tuple[str, dict[str, Any]]:
    """Returns the name of a method and its arguments.

    Args:
        kind: a drawer, such as "routers".
        text: `arrow{top_k=2}`.
        vary: reads what a written value may mean besides, such as a range of a search; None where it is a plain value.

    Raises:
        UnknownName: there is no such method, or it has no such argument.
        Invalid: the text is no spec, or a value has another type than the argument.
    """
    name, options = read(text)
    return name, typed(name, options, arguments(kind, name), vary)


def make_method(kind: str, text: str) -> Any:
    """Returns the object that a spec describes, for drawers whose constructor takes nothing but what a spec says."""
    name, given = parse_method(kind, text)
    return call(name, registry.find(kind, name), given)


def call(name: str, make: Callable[..., Any], given: Mapping[str, Any]) -> Any:
    """Calls a constructor; an argument that it cannot do without is asked for in a spec's words."""
    for parameter in arguments_of(make).values():
        if parameter.default is parameter.empty and parameter.name not in given:
            raise Invalid(
                f"{name} needs its {parameter.name}, as in {name}{{{parameter.name}={parameter.name.upper()}}}."
            )
    return make(**given)


def arguments(kind: str, name: str) -> dict[str, inspect.Parameter]:
    """Returns the arguments of a method that a spec may set, by name: not those that the machine passes."""
    make = registry.find(kind, name)
    every = arguments_of(make, 0 if inspect.isclass(make) else PASSED.get(kind, 0))
    return {key: p for key, p in every.items() if kind != "optimizers" or key not in OPTIMIZER}


def arguments_of(make: Callable[..., Any], passed: int = 0) -> dict[str, inspect.Parameter]:
    """Returns the same for any function or class whose first arguments are passed by the caller."""
    try:
        hints = get_type_hints(make.__init__ if inspect.isclass(make) else make)
    except (NameError, TypeError, AttributeError):  # a name that only its type checker knows
        hints = {}
    parameters: dict[str, inspect.Parameter] = {}
    for parameter in list(inspect.signature(make).parameters.values())[passed:]:
        hint = hints.get(parameter.name, parameter.annotation)
        if hint is parameter.empty and parameter.default not in (parameter.empty, None):
            hint = type(parameter.default)
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD) and _is_written(hint):
            parameters[parameter.name] = parameter.replace(annotation=hint)
    return parameters


def typed(
    name: str,
    options: Mapping[str, Any],
    parameters: Mapping[str, inspect.Parameter],
    vary: Vary | None = None,
) -> dict[str, Any]:
    """Returns the values that written arguments stand for, each as the annotation of its parameter says."""
    values: dict[str, Any] = {}
    for key, value in options.items():
        if key not in parameters:
            raise UnknownName.among(f"argument of {name}", key, parameters)
        convert = partial(_convert, hint=parameters[key].annotation)
        try:
            varied = None if vary is None else vary(value, convert)
            values[key] = convert(value) if varied is None else varied
        except Invalid:
            raise
        except ValueError:
            hint = inspect.formatannotation(parameters[key].annotation).replace("collections.abc.", "")
            raise Invalid(
                f"{name}: {key} is of type {hint}; {value if isinstance(value, str) else write_value(value)} was given."
            ) from None
    return values


def _is_written(hint: Any) -> bool:
    """Returns whether a value of this type can be written in a spec."""
    inner = [arg for arg in get_args(hint) if arg not in (types.NoneType, ...)]
    origin = get_origin(hint) or hint
    if hint in (Any, inspect.Parameter.empty, int, float, str, bool, Path) or origin is Literal:
        return True
    if origin in (Union, types.UnionType):
        return any(map(_is_written, inner))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return not inner or _is_written(inner[-1])
    return origin in LISTS and all(map(_is_written, inner))


def _convert(value: Any, hint: Any) -> Any:
    """Returns the value of a type that a written one stands for; raises ValueError if it has another type."""
    origin, inner = get_origin(hint) or hint, get_args(hint)
    plain = isinstance(value, str) and not isinstance(value, Quoted)
    if hint in (Any, inspect.Parameter.empty):
        return guess(value)
    if origin in (Union, types.UnionType):
        if types.NoneType in inner and (value is None or (plain and value == "null")):
            return None
        for option in sorted(filter(_is_written, inner), key=_rank):
            try:
                return _convert(value, option)
            except ValueError:
                continue
    elif origin is Literal:
        for option in inner:
            if value == option or (plain and value == str(option)):
                return option
    elif hint is bool:
        if isinstance(value, bool) or (plain and value in ("true", "false")):
            return value in (True, "true")
    elif hint in (int, float):
        if (plain or isinstance(value, int | float)) and not isinstance(value, bool):
            number = float(value) if isinstance(value, str | float) or abs(value) < 1 << 1023 else math.inf
            if math.isfinite(number) and hint is float:
                return number
            if number.is_integer():
                return int(value) if str(value).lstrip("+-").isdigit() else int(number)
    elif hint in (str, Path):
        if isinstance(value, str):
            return hint(value)
    elif isinstance(origin, type) and issubclass(origin, Mapping):
        if isinstance(value, Mapping):
            return {key: _convert(v, inner[-1] if inner else Any) for key, v in value.items()}
    elif origin in LISTS and not isinstance(value, Mapping):
        items = list(value) if isinstance(value, list | tuple) else [value]
        each = inner[:1] * len(items) if origin is not tuple or ... in inner else inner
        made = [_convert(item, one) for item, one in zip(items, each or (Any,) * len(items), strict=True)]
        return made if origin is list else tuple(made)
    raise ValueError


def _rank(hint: Any) -> int:
    """Returns the order in which the types of a union are tried: a number before a text, both before a list of one."""
    order = [bool, int, float, Literal, str, Path, get_origin(hint)]
    return order.index(get_origin(hint) or hint)


def guess(value: Any) -> Any:
    """Returns the meaning of a value whose type is not declared."""
    if isinstance(value, Mapping):
        return {key: guess(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [guess(item) for item in value]
    if not isinstance(value, str) or isinstance(value, Quoted):
        return str(value) if isinstance(value, str) else value
    if value in ("null", "true", "false"):
        return {"null": None, "true": True, "false": False}[value]
    for kind in (int, float):
        try:
            if math.isfinite(number := kind(value)):
                return number
        except ValueError:
            continue
    return value


def write_method(name: str, given: Mapping[str, Any]) -> str:
    """Returns the spec of a method and its arguments; `parse_method` reads it back as the same."""
    options = ",".join(f"{key}={write_value(value)}" for key, value in given.items())
    return name + (f"{{{options}}}" if options else "")


def write_value(value: Any) -> str:
    """Returns a value as a spec writes it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Mapping):
        return write_method("", value) or "{}"
    if isinstance(value, Iterable) and not isinstance(value, str):
        return f"[{','.join(map(write_value, value))}]"
    if isinstance(value, str | Path):
        return quote(str(value)) if isinstance(guess(str(value)), str) else json.dumps(value)
    return repr(value)


def quote(name: str) -> str:
    """Returns a name or a text as it is, or in quotes where a spec would read it otherwise."""
    return name if PLAIN.fullmatch(name) else json.dumps(name, ensure_ascii=False)
