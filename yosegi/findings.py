"""What a run says about its own numbers: `findings.json`, with its types, its one writer and its one reader.

    save(run.path, "What the library does", [
        Finding("Arrow against the oracle", text=["A paragraph.", "Another."],
                table=Table(["model", "Rouge-L"], [["base", 0.21], ["arrow", Estimate(0.4, 0.37, 0.43, best=True)]]),
                figure=Dots("Rouge-L by model", "What is seen.", [Dot("arrow", 0.4, 0.37, 0.43)], x="Rouge-L"))])

A finding has a heading; everything else may be left out. The report prints the text, then the table, then the figure.
Every type checks itself when it is made, so a bad finding fails where it is written and not where it is read.
A number may be None wherever `Number` is written: it is not drawn. NaN and infinity become None, since JSON has neither.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, StrictBool, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from pydantic_core import ErrorDetails

from yosegi import files
from yosegi.errors import Corrupt

FILE = "findings.json"

_EXTRA_FORBIDDEN = ConfigDict(extra="forbid")


def _finite(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError(f"is not a number, but {value!r}")
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _name(value: Any) -> Any:
    return f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else value


Number = Annotated[
    Annotated[int, Field(strict=True)] | Annotated[float, Field(strict=True)] | None, BeforeValidator(_finite)
]
Name = Annotated[str, BeforeValidator(_name)]
"""A name; a number (a rank, a k) may be one."""


@dataclass(config=_EXTRA_FORBIDDEN)
class Estimate:
    """A number with its interval, and whether it is the best of its column."""

    value: Number
    low: Number = None
    high: Number = None
    best: StrictBool = False


Cell = str | Estimate | Number


@dataclass(config=_EXTRA_FORBIDDEN)
class Table:
    """Rows of cells, as they are to be printed."""

    columns: Sequence[Name]
    rows: Sequence[Sequence[Cell]]
    note: str = ""

    def __post_init__(self):
        for number, row in enumerate(self.rows, 1):
            if len(row) != len(self.columns):
                raise ValueError(f"has {len(row)} cells in row {number}, and {len(self.columns)} columns")


@dataclass(config=_EXTRA_FORBIDDEN)
class Reference:
    """A line across the axis of the values."""

    value: Number
    label: str = ""


@dataclass(config=_EXTRA_FORBIDDEN)
class Dot:
    """One row of `Dots`; rows of one group have one colour."""

    label: Name
    value: Number
    low: Number = None
    high: Number = None
    group: str = ""


@dataclass(config=_EXTRA_FORBIDDEN)
class Dots:
    """Values below each other, each with its interval."""

    title: str
    caption: str
    rows: Sequence[Dot]
    x: str = ""
    reference: Reference | None = None
    kind: Literal["dots"] = "dots"


@dataclass(config=_EXTRA_FORBIDDEN)
class Point:
    """One point of a `Scatter`; points of one group have one colour."""

    x: Number
    y: Number
    label: str = ""
    group: str = ""


@dataclass(config=_EXTRA_FORBIDDEN)
class Scatter:
    """Points on two axes, with the least-squares line (`line`) or the line y = x (`diagonal`) if it is asked for."""

    title: str
    caption: str
    points: Sequence[Point]
    x: str = ""
    y: str = ""
    line: StrictBool = False
    diagonal: StrictBool = False
    kind: Literal["scatter"] = "scatter"

    def known(self) -> list[tuple[float, float, Point]]:
        """Returns x, y and the point itself, of every point that has both numbers."""
        return [(point.x, point.y, point) for point in self.points if point.x is not None and point.y is not None]


@dataclass(config=_EXTRA_FORBIDDEN)
class Series:
    """One line of `Lines`: points (x, y), or (x, y, low, high) with an interval of y."""

    name: str
    points: Sequence[tuple[Number, ...]]

    def __post_init__(self):
        for number, point in enumerate(self.points, 1):
            if len(point) not in (2, 4):
                raise ValueError(f"has a point {number} that is neither [x, y] nor [x, y, low, high]")

    def known(self) -> list[tuple[float, float, float | None, float | None]]:
        """Returns x, y, low and high of every point that has x and y, sorted by x."""
        padded = [(*point, None, None)[:4] for point in self.points]
        known = [(x, y, low, high) for x, y, low, high in padded if x is not None and y is not None]
        return sorted(known, key=lambda point: point[0])


@dataclass(config=_EXTRA_FORBIDDEN)
class Lines:
    """Lines on two axes, each with its band if it has intervals."""

    title: str
    caption: str
    series: Sequence[Series]
    x: str = ""
    y: str = ""
    reference: Reference | None = None
    kind: Literal["lines"] = "lines"


@dataclass(config=_EXTRA_FORBIDDEN)
class Bars:
    """One bar per label."""

    title: str
    caption: str
    labels: Sequence[Name]
    values: Sequence[Number]
    x: str = ""
    y: str = ""
    reference: Reference | None = None
    kind: Literal["bars"] = "bars"

    def __post_init__(self):
        if len(self.labels) != len(self.values):
            raise ValueError(f"has {len(self.labels)} labels and {len(self.values)} values")


@dataclass(config=_EXTRA_FORBIDDEN)
class Matrix:
    """A heat map: values[row][column]."""

    title: str
    caption: str
    rows: Sequence[Name]
    columns: Sequence[Name]
    values: Sequence[Sequence[Number]]
    kind: Literal["matrix"] = "matrix"

    def __post_init__(self):
        if [len(row) for row in self.values] != [len(self.columns)] * len(self.rows):
            raise ValueError(f"needs values of {len(self.rows)} rows and {len(self.columns)} columns")


Figure = Dots | Scatter | Lines | Bars | Matrix


@dataclass(config=_EXTRA_FORBIDDEN)
class Finding:
    """A heading, and what stands below it on the page."""

    heading: str
    text: Sequence[str] = Field(default_factory=list)
    table: Table | None = None
    figure: Annotated[Figure, Field(discriminator="kind")] | None = None


@dataclass(config=_EXTRA_FORBIDDEN)
class Findings:
    """All findings of one run."""

    title: str
    findings: Sequence[Finding]


_FINDINGS = TypeAdapter(Findings)


def save(folder: Path, title: str, findings: Sequence[Finding]) -> None:
    """Write `findings.json` into the folder of a run."""
    files.write(folder / FILE, _FINDINGS.dump_json(Findings(title, findings), indent=1) + b"\n")


def load(folder: Path) -> Findings | None:
    """Returns the findings of a run, or None if it has none.

    Raises:
        Corrupt: the file breaks a rule above; names the place.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        return _FINDINGS.validate_python(files.read_json(path))
    except ValidationError as error:
        raise Corrupt(f"{path}: {_explain(error.errors(include_url=False))}.") from error


def _explain(errors: list[ErrorDetails]) -> str:
    """One error in words, with its place as in findings[0].table.rows[1][2].

    A cell may be one of several types, and pydantic names an error for each: the one that got deepest, or else the last.
    """
    paths = [[part for part in error["loc"] if isinstance(part, int) or part in _FIELDS] for error in errors]
    path, error = max(reversed(list(zip(paths, errors, strict=True))), key=lambda pair: len(pair[0]))
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")
    match error["type"]:
        case "missing":
            return f"{place} is missing"
        case "unexpected_keyword_argument":
            return f"{place} has {error['loc'][-1]!r}, which nobody reads"
        case "value_error":
            return f"{place} {error.get('ctx', {})['error']}"
        case "is_instance_of" | "sequence_str":
            return f"{place} is {repr(error['input'])[:80]}, not a list"
        case _:
            return f"{place} is {repr(error['input'])[:80]}: {error['msg'][:1].lower()}{error['msg'][1:]}"


_TYPES = (Findings, Finding, Table, Estimate, Reference, Dots, Dot, Scatter, Point, Lines, Series, Bars, Matrix)
_FIELDS = {name for one in _TYPES for name in one.__dataclass_fields__}
