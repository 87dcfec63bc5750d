"""What a recipe says in its own words: `findings.json` in the folder of a run, read and checked.

    {"title": "What the library does", "findings": [
        {"heading": "Arrow against the oracle",
         "text": ["A paragraph.", "Another."],
         "table": {"columns": ["model", "Rouge-L"], "note": "Mean of three seeds.",
                   "rows": [["base", 0.21], ["arrow", {"value": 0.4, "low": 0.37, "high": 0.43, "best": true}]]},
         "figure": {"kind": "dots", "title": "Rouge-L by model", "caption": "What is seen.", "rows": [ ... ]}}]}

Every finding has a heading; text, table and figure may be left out, and so may a table's note. A cell is text, a number, null,
or a number with its interval, perhaps the best of its column. Every figure has a title and a caption, and by its kind

    dots     rows [{label, value, low?, high?, group?}]           x?, reference?      values, each with its whisker
    scatter  points [{x, y, label?, group?}]                      x?, y?, line?, diagonal?
    lines    series [{name, points [[x, y] or [x, y, low, high]]}]  x?, y?, reference?
    bars     labels, values                                       x?, y?, reference?
    matrix   rows, columns, values [row][column]                                      a heat map

where x and y name the axes, reference is {value, label?}, a line across the axis of the values, line: true draws the line of
least squares and diagonal: true the line y = x. A number may be null (or NaN) anywhere: it is not drawn.
"""

from dataclasses import dataclass
from typing import Any

from yosegi.errors import Corrupt
from yosegi.reporting.format import known
from yosegi.reporting.read import Found

FILE = "findings.json"


@dataclass(frozen=True)
class Dot:
    """A value, and where it may lie."""

    label: str
    value: float | None
    low: float | None = None
    high: float | None = None
    group: str = ""


@dataclass(frozen=True)
class Reference:
    """A line across a chart."""

    value: float
    label: str = ""


@dataclass(frozen=True)
class Dots:
    """Values below each other."""

    rows: list[Dot]
    x: str = ""
    reference: Reference | None = None


@dataclass(frozen=True)
class Point:
    """One of a scatter."""

    x: float
    y: float
    label: str = ""
    group: str = ""


@dataclass(frozen=True)
class Scatter:
    """Points on two axes."""

    points: list[Point]
    x: str = ""
    y: str = ""
    line: bool = False
    diagonal: bool = False


@dataclass(frozen=True)
class Series:
    """A line: x, y, and perhaps from where to where y may lie."""

    name: str
    points: list[tuple[float, float, float | None, float | None]]


@dataclass(frozen=True)
class Lines:
    """Lines on two axes."""

    series: list[Series]
    x: str = ""
    y: str = ""
    reference: Reference | None = None


@dataclass(frozen=True)
class Bars:
    """One bar a label."""

    labels: list[str]
    values: list[float | None]
    x: str = ""
    y: str = ""
    reference: Reference | None = None


@dataclass(frozen=True)
class Matrix:
    """A heat map."""

    rows: list[str]
    columns: list[str]
    values: list[list[float | None]]


Shape = Dots | Scatter | Lines | Bars | Matrix


@dataclass(frozen=True)
class Figure:
    """What is drawn, and what stands above and below it."""

    title: str
    caption: str
    shape: Shape


@dataclass(frozen=True)
class Cell:
    """Text, or a number with its interval."""

    text: str | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None
    best: bool = False


@dataclass(frozen=True)
class Table:
    """As it is to be printed."""

    columns: list[str]
    rows: list[list[Cell]]
    note: str = ""


@dataclass(frozen=True)
class Finding:
    """A heading and what is below it."""

    heading: str
    text: list[str]
    table: Table | None = None
    figure: Figure | None = None


@dataclass(frozen=True)
class Findings:
    """All of one run."""

    run: str
    title: str
    findings: list[Finding]


def findings(found: Found) -> list[Findings]:
    """Of every run that has some; one that breaks the rules above is named, with the place."""
    return [
        _findings(run.name, _Part(run.findings, str(run.path / FILE))) for run in found.runs if run.findings is not None
    ]


@dataclass(frozen=True)
class _Part:
    """A value of the file, and the words for where it stands."""

    value: Any
    where: str

    def wrong(self, what: str) -> Corrupt:
        return Corrupt(f"{self.where} {what}.")

    def object(self, needs: str, may: str = "") -> "dict[str, _Part]":
        """The parts that are there. All of `needs` have to be, and none but those of `may` besides."""
        if not isinstance(self.value, dict):
            raise self.wrong("is not an object")
        needed, every = needs.split(), [*needs.split(), *may.split()]
        if missing := [key for key in needed if key not in self.value]:
            raise self.wrong(f"lacks {', '.join(missing)}")
        if strange := [key for key in self.value if key not in every]:
            raise self.wrong(f"has {strange[0]!r}, which nobody reads; there are {', '.join(every)}")
        return {key: _Part(value, f"{self.where}, {key}") for key, value in self.value.items() if value is not None}

    def list(self, what: str) -> "list[_Part]":
        """Its parts, numbered from 1."""
        if not isinstance(self.value, list):
            raise self.wrong("is not a list")
        return [_Part(value, f"{self.where}, {what} {number}") for number, value in enumerate(self.value, 1)]

    def text(self) -> str:
        if not isinstance(self.value, str):
            raise self.wrong(f"is not text, but {self.value!r}")
        return self.value

    def number(self) -> float | None:
        if self.value is not None and (isinstance(self.value, bool) or not isinstance(self.value, int | float)):
            raise self.wrong(f"is not a number, but {self.value!r}")
        return known(self.value)

    def flag(self) -> bool:
        if not isinstance(self.value, bool):
            raise self.wrong(f"is not true or false, but {self.value!r}")
        return self.value


def _findings(run: str, whole: _Part) -> Findings:
    parts = whole.object("title findings")
    if missing := [key for key in ("title", "findings") if key not in parts]:
        raise whole.wrong(f"has no {missing[0]}")
    return Findings(run, parts["title"].text(), [_finding(part) for part in parts["findings"].list("finding")])


def _finding(part: _Part) -> Finding:
    parts = part.object("heading", "text table figure")
    return Finding(
        heading=_text(parts, "heading"),
        text=[paragraph.text() for paragraph in parts["text"].list("paragraph")] if "text" in parts else [],
        table=_table(parts["table"]) if "table" in parts else None,
        figure=_figure(parts["figure"]) if "figure" in parts else None,
    )


def _table(part: _Part) -> Table:
    parts = part.object("columns rows", "note")
    columns = _texts(parts["columns"], "column")
    rows = [row.list("cell") for row in parts["rows"].list("row")]
    for number, row in enumerate(rows, 1):
        if len(row) != len(columns):
            raise part.wrong(f"has {len(row)} cells in row {number}, and {len(columns)} columns")
    return Table(columns, [[_cell(cell) for cell in row] for row in rows], _text(parts, "note"))


def _cell(part: _Part) -> Cell:
    if isinstance(part.value, str):
        return Cell(text=part.value)
    if not isinstance(part.value, dict):
        return Cell(value=part.number())
    parts = part.object("value", "low high best")
    best = "best" in parts and parts["best"].flag()
    return Cell(None, _number(parts, "value"), _number(parts, "low"), _number(parts, "high"), best)


def _figure(part: _Part) -> Figure:
    kind = part.value.get("kind") if isinstance(part.value, dict) else None
    if kind not in KINDS:
        raise part.wrong(f"is of kind {kind!r}; there are {', '.join(KINDS)}")
    needs, may, read = KINDS[kind]
    parts = part.object(f"kind title caption {needs}", may)
    for key in needs.split():
        if key not in parts:
            raise part.wrong(f"lacks {key}")
    return Figure(_text(parts, "title"), _text(parts, "caption"), read(parts))


def _dots(parts: dict[str, _Part]) -> Dots:
    rows = [part.object("label value", "low high group") for part in parts["rows"].list("row")]
    dots = [
        Dot(_text(row, "label"), _number(row, "value"), _number(row, "low"), _number(row, "high"), _text(row, "group"))
        for row in rows
    ]
    return Dots(dots, _text(parts, "x"), _reference(parts))


def _scatter(parts: dict[str, _Part]) -> Scatter:
    rows = [part.object("x y", "label group") for part in parts["points"].list("point")]
    points = [
        Point(x, y, _text(row, "label"), _text(row, "group"))
        for row in rows
        if (x := _number(row, "x")) is not None and (y := _number(row, "y")) is not None
    ]
    line, diagonal = (key in parts and parts[key].flag() for key in ("line", "diagonal"))
    return Scatter(points, _text(parts, "x"), _text(parts, "y"), line, diagonal)


def _lines(parts: dict[str, _Part]) -> Lines:
    series: list[Series] = []
    for part in parts["series"].list("series"):
        one = part.object("name points")
        if "points" not in one:
            raise part.wrong("lacks points")
        points: list[tuple[float, float, float | None, float | None]] = []
        for point in one["points"].list("point"):
            numbers = [part.number() for part in point.list("number")]
            if len(numbers) not in (2, 4):
                raise point.wrong("is neither [x, y] nor [x, y, low, high]")
            x, y, low, high = (*numbers, None, None)[:4]
            if x is not None and y is not None:
                points.append((x, y, low, high))
        series.append(Series(_text(one, "name"), points))
    return Lines(series, _text(parts, "x"), _text(parts, "y"), _reference(parts))


def _bars(parts: dict[str, _Part]) -> Bars:
    labels, values = _texts(parts["labels"], "label"), [part.number() for part in parts["values"].list("value")]
    if len(labels) != len(values):
        raise parts["values"].wrong(f"are {len(values)}, and the labels {len(labels)}")
    return Bars(labels, values, _text(parts, "x"), _text(parts, "y"), _reference(parts))


def _matrix(parts: dict[str, _Part]) -> Matrix:
    rows, columns = _texts(parts["rows"], "row"), _texts(parts["columns"], "column")
    values = [[part.number() for part in row.list("number")] for row in parts["values"].list("row")]
    if [len(row) for row in values] != [len(columns)] * len(rows):
        raise parts["values"].wrong(f"are not {len(rows)} rows of {len(columns)} numbers")
    return Matrix(rows, columns, values)


KINDS = {
    "dots": ("rows", "x reference", _dots),
    "scatter": ("points", "x y line diagonal", _scatter),
    "lines": ("series", "x y reference", _lines),
    "bars": ("labels values", "x y reference", _bars),
    "matrix": ("rows columns values", "", _matrix),
}
"""What each kind of figure needs, what it may have, and who reads it."""


def _reference(parts: dict[str, _Part]) -> Reference | None:
    if "reference" not in parts:
        return None
    inner = parts["reference"].object("value", "label")
    value = _number(inner, "value")
    return None if value is None else Reference(value, _text(inner, "label"))


def _text(parts: dict[str, _Part], key: str) -> str:
    return parts[key].text() if key in parts else ""


def _texts(part: _Part, what: str) -> list[str]:
    """Names; a number (a rank, a k) may be one."""
    return [inner.text() if (n := known(inner.value)) is None else f"{n:g}" for inner in part.list(what)]


def _number(parts: dict[str, _Part], key: str) -> float | None:
    return parts[key].number() if key in parts else None
