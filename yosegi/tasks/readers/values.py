r"""A second opinion on two mathematical answers, by their structure and by their values; it needs no computer algebra.

An answer is taken apart: lists and sets (1, -2), points and intervals [0,\infty), unions, ratios 1:4:9, times 7:30 a.m.,
matrices, equations and inequalities (1\le x\le 2 is [1,2]). What is left is an expression. It is evaluated at two
precisions, at three values of each of its letters; two expressions are equal if all values agree but for the last digits.
So 1/2006! is not 1/2004!, 2^{100} is not 2^{100}+1, and 0.\overline{3} is 1/3. Numbers are floating-point numbers with
exponents of any size, so that 2^{10^9} and 10000! take no time; they are compared to as many digits as they have, MOST at
most. What would take long (sin of such a number, a tower of powers) is Unclear, as is all that the grammar does not know.
"""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

PRECISIONS = (30, 400)  # digits
SPARE = 12  # digits that may differ
MOST = 40_000  # digits
POINTS = 3
LARGEST = 10**15  # exponents and arguments of factorials
WIDEST = 10**8  # arguments of trigonometric functions

TOKEN = re.compile(r"(?<=_)\d|\d+(?:\.\d+)?|\.\d+|\\[A-Za-z]+|[A-Za-z](?:_\{?\w{1,3}\}?)?|\S")
REPEATING = re.compile(r"(\d*)\.(\d*)\\(?:overline|bar|dot)\{(\d+)\}")
TIME = re.compile(r"(\d{1,2}):(\d\d)\\?(?:([ap])\.?m\.?)?")
MATRIX = re.compile(r"\\begin\{[pbvB]?matrix\}(.*)\\end\{[pbvB]?matrix\}", re.DOTALL)
RELATION = re.compile(r"\\leq?(?![a-z])|\\geq?(?![a-z])|<|>")
DOTS = re.compile(r"\\[lc]?dots|\.\.\.|…")
JOINED = re.compile(r",?\s*\b(?:and|or)\b\s*")
SPACE = re.compile(r"(?<![A-Za-z])\s+|\s+(?![A-Za-z])")
OPEN, CLOSE = "([{", ")]}"
FUNCTIONS = ("sin", "cos", "tan", "sec", "csc", "cot", "sinh", "cosh", "tanh", "arcsin", "arccos", "arctan")
INVERSE = {"arcsin": "asin", "arccos": "acos", "arctan": "atan"}


class Unclear(Exception):
    """What this reader cannot judge."""


def agree(a: str, b: str) -> bool | None:
    """Returns whether two answers, as symbols.tidy leaves them, are equal; None where that is not clear."""
    try:
        return _same(*(SPACE.sub("", JOINED.sub(",", text.strip())) for text in (a, b)))
    except (Unclear, RecursionError, ArithmeticError, ValueError, IndexError, MemoryError, TypeError):
        return None


def _same(a: str, b: str) -> bool:
    a, b = (re.sub(r"^[a-z] ?\\in(?![a-z]) ?", "", text.strip()) for text in (a, b))
    times = [TIME.fullmatch(text) for text in (a, b)]
    if all(times):
        (h, m, half), (k, n, other) = (match.groups() for match in times if match)
        return (int(h), m) == (int(k), n) and (half == other or not (half and other))
    for mark in (r"\cup", ":", ","):
        parts = [_list(text) if mark == "," else _cut(text, mark) for text in (a, b)]
        if max(map(len, parts)) > 1:
            if len(parts[0]) != len(parts[1]):
                return False
            if mark == ":":
                return _proportional(*parts)
            if any(map(DOTS.search, (a, b))):
                return _each(*parts)
            if len(parts[0]) > 40:
                raise Unclear
            return _matched(*parts)
    if a == b or DOTS.fullmatch(a) and DOTS.fullmatch(b):
        return True
    ranges = [_range(text) for text in (a, b)]
    if any(ranges):
        if not all(ranges):
            return _unlike(a, b)
        (low, high), (lower, higher) = ((text for text in one[1:]) for one in ranges if one)
        return ranges[0][0] == ranges[1][0] and _equal(low, lower) and _equal(high, higher)  # type: ignore[index]
    matrices = [MATRIX.fullmatch(text) for text in (a, b)]
    if any(matrices):
        rows = [[_cut(row, "&") for row in re.split(r"\\\\", match[1].strip("\\"))] for match in matrices if match]
        if len(rows) == 1 or [len(row) for row in rows[0]] != [len(row) for row in rows[1]]:
            return False
        return all(_each(*pair) for pair in zip(*rows, strict=True))
    points = [text[0] in "([" and _closes(text) and len(_cut(text[1:-1], ",")) > 1 for text in (a, b)]
    if any(points):
        alike = all(points) and (a[0], a[-1]) == (b[0], b[-1])
        return alike and _each(*(_cut(text[1:-1], ",") for text in (a, b)))
    return _equations(a, b) if "=" in a + b else _equal(a, b)


def _unlike(a: str, b: str) -> bool:
    """A range against something else: not equal if that has a value."""
    for text in (a, b):
        if not _range(text):
            _value(text, 0, PRECISIONS[0])
    return False


def _each(a: Sequence[str], b: Sequence[str]) -> bool:
    return len(a) == len(b) and all(map(_same, a, b))


def _matched(a: Sequence[str], b: Sequence[str]) -> bool:
    """Whether each part has a partner, in any order."""
    left = list(b)
    for part in a:
        partner = next((n for n, other in enumerate(left) if _same(part, other)), None)
        if partner is None:
            return False
        left.pop(partner)
    return True


def _proportional(a: Sequence[str], b: Sequence[str]) -> bool:
    if any(DOTS.search(part) for part in (*a, *b)):
        return _each(a, b)
    return all(_equal(f"({a[0]})*({y})", f"({b[0]})*({x})") for x, y in zip(a[1:], b[1:], strict=True))


def _equations(a: str, b: str) -> bool:
    sides = [text.split("=") for text in (a, b)]
    if any(len(one) > 2 for one in sides):
        raise Unclear
    if len(sides[0]) != len(sides[1]):  # y = 2x or f(x) = 2x, and 2x
        (equation,), (value,) = ([one for one in sides if len(one) == n] for n in (2, 1))
        if not re.fullmatch(r"[a-z](?:\([a-z]\))?", equation[0]):
            raise Unclear
        return _same(equation[1], value[0])
    differences = [f"({left})-({right})" for left, right in sides]
    digits = PRECISIONS[1]
    ratios = [_value(differences[0], point, digits) / _value(differences[1], point, digits) for point in range(POINTS)]
    return all(_near(ratio, ratios[0], digits) for ratio in ratios)


def _list(text: str) -> list[str]:
    """The parts of a list or a set; a sign of two signs makes two parts."""
    text = text.replace(r"\{", "{").replace(r"\}", "}")
    inner = text[1:-1] if text[:1] == "{" and _closes(text) else text
    parts = _cut(inner, ",")
    return [
        part.replace(r"\pm", sign) if r"\pm" in part else part
        for part in parts
        for sign in ("+-" if r"\pm" in part else "+")
    ]


def _range(text: str) -> tuple[str, str, str] | None:
    """Brackets and ends of an interval that is written as an inequality or with at least one square bracket or infinity."""
    relations, sides = RELATION.findall(text), [side.strip() for side in RELATION.split(text)]
    if not relations:
        ends = _cut(text[1:-1], ",") if text[:1] in ("(", "[") and _closes(text, mixed=True) else []
        square = len(ends) == 2 and (text[0] == "[" or text[-1] == "]" or any(r"\infty" in end for end in ends))
        return (text[0] + text[-1], *ends) if square and len(ends) == 2 else None  # type: ignore[return-value]
    below = [one == "<" or one.startswith(r"\l") for one in relations]
    strict = [one in "<>" for one in relations]
    if len(set(below)) > 1 or len(sides) > 3:
        raise Unclear
    if not below[0]:
        sides, strict = sides[::-1], strict[::-1]
    if len(sides) == 2:  # x < 3
        at = next((n for n in (0, 1) if re.fullmatch("[a-z]", sides[n])), None)
        if at is None:
            raise Unclear
        sides = [r"-\infty", *sides] if at == 0 else [*sides, r"\infty"]
        strict = [True, *strict] if at == 0 else [*strict, True]
    if not re.fullmatch("[a-z]", sides[1]):
        raise Unclear
    return ("[("[strict[0]] + "])"[strict[1]], sides[0], sides[2])


def _cut(text: str, mark: str) -> list[str]:
    """Cuts a text at a mark outside of all brackets."""
    parts, depth, at = [""], 0, 0
    while at < len(text):
        depth += (text[at] in OPEN) - (text[at] in CLOSE)
        if depth == 0 and text.startswith(mark, at):
            parts.append("")
            at += len(mark)
            continue
        parts[-1] += text[at]
        at += 1
    return parts


def _closes(text: str, mixed: bool = False) -> bool:
    """Whether the first bracket is closed by the last character, and by no other."""
    depth = [0]
    for char in text:
        depth.append(depth[-1] + (char in OPEN) - (char in CLOSE))
    fits = text[-1:] in CLOSE and (mixed or OPEN.find(text[0]) == CLOSE.find(text[-1]))
    return fits and len(text) > 1 and depth[-1] == 0 and all(depth[1:-1])


def _equal(a: str, b: str) -> bool:
    x = None
    for digits in PRECISIONS:
        for point in range(POINTS):
            x, y = _value(a, point, digits), _value(b, point, digits)
            if not _near(x, y, digits):
                return False
    size = 10 + (_context(15).log10(abs(x)) if a != b and x and abs(x) != _context(15).inf else 0)
    if PRECISIONS[1] - SPARE < size <= MOST:  # an integer may have more digits than were compared
        digits = int(size) + SPARE
        return _near(_value(a, POINTS - 1, digits), _value(b, POINTS - 1, digits), digits)
    return True


def _near(a: Any, b: Any, digits: int) -> bool:
    if a != a or b != b:
        raise Unclear
    return a == b or bool(abs(a - b) <= max(abs(a), abs(b)) * _context(15).mpf(10) ** (SPARE - digits))


@lru_cache
def _context(digits: int) -> Any:
    from mpmath import MPContext

    mp = MPContext()
    mp.dps = digits
    return mp


def _value(text: str, point: int, digits: int) -> Any:
    """Returns the value of an expression at one of the points."""
    mp = _context(digits)

    def repeating(match: re.Match[str]) -> str:
        whole, head, tail = match[1] or "0", match[2], match[3]
        return f"(({whole + head + tail}-{whole + head})/({10 ** len(head) * (10 ** len(tail) - 1)}))"

    reader = Expression(TOKEN.findall(REPEATING.sub(repeating, text)), mp, point)
    value = reader.sum()
    if reader.tokens:
        raise Unclear
    return value


class Expression:
    """Reads an expression from its tokens by recursive descent, and evaluates it on the way."""

    def __init__(self, tokens: list[str], mp: Any, point: int):
        self.tokens, self.mp, self.point = tokens[::-1], mp, point

    def next(self, *wanted: str) -> str | None:
        """Takes the next token, if it is one of these."""
        return self.tokens.pop() if self.tokens and (not wanted or self.tokens[-1] in wanted) else None

    def sum(self) -> Any:
        """Returns the value of terms with + and - between them."""
        sign = self.next("+", "-")
        value = -self.product() if sign == "-" else self.product()
        while sign := self.next("+", "-"):
            value = value + self.product() if sign == "+" else value - self.product()
        return value

    def product(self) -> Any:
        """Returns the value of factors, with or without a sign between them."""
        value = self.power()
        while self.tokens and self.tokens[-1] not in ("+", "-", ")", "]", "}", "|", ",", "=", "&"):
            sign = self.next("*", r"\cdot", r"\times", "/", r"\div")
            factor = -self.power() if sign and self.next("-") else self.power()
            value = value / factor if sign in ("/", r"\div") else value * factor
        return value

    def power(self) -> Any:
        """Returns the value of an atom with its powers and factorials."""
        value = self.atom()
        while mark := self.next("^", "!"):
            if mark == "!":
                if not 0 <= abs(value) <= LARGEST:
                    raise Unclear
                value = self.mp.factorial(value)
                continue
            sign = -1 if self.next("-") else 1
            exponent = sign * self.power()
            if abs(exponent) > LARGEST:
                raise Unclear
            value = self.mp.power(value, exponent)
        return value

    def atom(self) -> Any:
        """Returns the value of a number, a letter, a command or what stands in brackets."""
        token = self.next()
        if token is None:
            raise Unclear
        if token[0].isdigit() or token[0] == ".":
            value = self.mp.mpf(token)
            return value + self.atom() if self._mixed() else value
        if token in ("(", "[", "{", "|"):
            value = self.sum()
            if not self.next({"(": ")", "[": "]", "{": "}", "|": "|"}[token]):
                raise Unclear
            return abs(value) if token == "|" else value
        if token[0].isalpha():
            constant: Any = {"e": self.mp.e, "i": self.mp.j}.get(token)
            return self.letter(token) if constant is None else constant * 1
        return self.command(token)

    def _mixed(self) -> bool:
        """Whether 4/5 follows 1: a fraction of two plain numbers."""
        ahead = self.tokens[::-1][:7]
        return len(ahead) == 7 and re.fullmatch(r"\\frac\{\d+\}\{\d+\}", "".join(ahead)) is not None

    def letter(self, name: str) -> Any:
        """Returns the value of a letter at this point: a number that no short expression has."""
        seed = sum(ord(char) * (7 + n) for n, char in enumerate(name)) + 101 * self.point
        return self.mp.sqrt(seed) / 7

    def command(self, token: str) -> Any:
        """Returns the value of a LaTeX command with its arguments."""
        name, mp = token[1:], self.mp
        if token == r"\frac":
            return self.atom() / self.atom()
        if token == r"\sqrt":
            root = 2
            if self.next("["):
                root = self.sum()
                self.next("]")
            return mp.power(self.atom(), 1 / mp.mpf(root))
        if token == r"\binom":
            above, below = self.atom(), self.atom()
            if max(abs(above), abs(below)) > WIDEST:
                raise Unclear
            return mp.binomial(above, below)
        if name in ("log", "ln"):
            base = self.atom() if self.next("_") else 10 if name == "log" else mp.e
            return mp.log(self.power()) / mp.log(base)
        if name in FUNCTIONS:
            power = self.atom() if self.next("^") else 1
            argument = self.power()
            while self.tokens and (self.tokens[-1].isalnum() or self.tokens[-1] in (r"\pi", r"\theta")):
                argument *= self.power()
            if abs(argument) > WIDEST or power == -1:
                raise Unclear
            function: Callable[[Any], Any] = getattr(mp, INVERSE.get(name, name))
            return function(argument) ** power
        if name in ("pi", "infty"):
            return mp.pi * 1 if name == "pi" else mp.inf
        if name in ("alpha", "beta", "gamma", "theta", "lambda", "phi", "omega", "sigma", "mu"):
            return self.letter(name)
        raise Unclear
