import json

import pytest

from yosegi.errors import Corrupt
from yosegi.reporting.findings import Bars, Cell, Dots, Lines, Matrix, Point, Reference, Scatter, findings
from yosegi.reporting.read import read


@pytest.fixture
def tell(tmp_path):
    def write(value):
        (tmp_path / "findings.json").write_text(json.dumps(value))
        return findings(read([tmp_path]))

    return write


def test_every_kind_is_read(tell, said):
    (found,) = tell(said)
    assert found.title == "What came out" and len(found.findings) == 5
    first = found.findings[0]
    assert first.text == said["findings"][0]["text"] and first.table is not None
    assert first.table.rows[1] == [
        Cell(text="arrow"),
        Cell(None, 0.75, 0.625, 0.875, True),
        Cell(),
        Cell(text="nothing"),
    ]
    shapes = [finding.figure.shape for finding in found.findings if finding.figure]
    assert [type(shape) for shape in shapes] == [Dots, Scatter, Lines, Bars, Matrix]
    assert shapes[0].reference == Reference(0.5, "chance") and shapes[0].rows[2].value is None
    assert shapes[1].points[1] == Point(0.25, 1.5, "pair 1", "b") and shapes[1].line and shapes[1].diagonal
    assert shapes[2].series[0].points[0] == (1, 0.5, 0.375, 0.625) and shapes[2].series[1].points[0] == (
        4,
        0.5,
        None,
        None,
    )
    assert shapes[3].labels == ["0", "1", "2"], "a number may name a bar"
    assert shapes[4].values[1] == [0.5, None, 0]


def test_a_run_without_findings_has_none(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 1.0}\n')
    assert findings(read([tmp_path])) == []


def test_a_heading_is_enough_and_nan_is_not_a_number(tell, said):
    said["findings"] = [{"heading": "So it is", "table": None}]
    assert tell(said)[0].findings[0].figure is None
    points = [{"x": float("nan"), "y": 1}, {"x": 1, "y": None}, {"x": 2, "y": 3}]
    figure = {"kind": "scatter", "title": "t", "caption": "c", "points": points}
    said["findings"] = [{"heading": "h", "figure": figure}]
    assert tell(said)[0].findings[0].figure.shape.points == [Point(2, 3)]


def change(said, path, value):
    *way, last = path
    for key in way:
        said = said[key]
    if value is KeyError:
        del said[last]
    else:
        said[last] = value


ROW = ("findings", 0, "figure", "rows", 1)
WRONG = [
    (("title",), KeyError, "lacks title"),
    (("title",), None, "has no title"),
    (("findings",), {}, "findings is not a list"),
    (("findings", 1), "text", "finding 2 is not an object"),
    (("findings", 0, "heading"), 3, "finding 1, heading is not text, but 3"),
    (("findings", 0, "text"), "a paragraph", "finding 1, text is not a list"),
    (("findings", 0, "txt"), [], "has 'txt', which nobody reads; there are heading, text, table, figure"),
    (("findings", 0, "table", "rows", 1), [1, 2], "has 2 cells in row 2, and 4 columns"),
    (("findings", 0, "table", "rows", 0, 1), True, "row 1, cell 2 is not a number, but True"),
    (("findings", 0, "table", "rows", 0, 1, "best"), 1, "best is not true or false"),
    (("findings", 0, "table", "rows", 0, 1, "value"), KeyError, "row 1, cell 2 lacks value"),
    (("findings", 0, "figure", "kind"), "pie", "of kind 'pie'; there are dots, scatter, lines, bars, matrix"),
    (("findings", 0, "figure", "caption"), KeyError, "figure lacks caption"),
    (("findings", 0, "figure", "rows"), None, "figure lacks rows"),
    ((*ROW, "value"), "0.5", "figure, rows, row 2, value is not a number, but '0.5'"),
    (("findings", 1, "figure", "points", 0, "z"), 1, "point 1 has 'z'"),
    (("findings", 2, "figure", "series", 0, "points", 1), [1, 2, 3], "point 2 is neither"),
    (("findings", 2, "figure", "series", 1, "points"), None, "series 2 lacks points"),
    (("findings", 3, "figure", "values"), [1], "are 1, and the labels 3"),
    (("findings", 4, "figure", "values", 0), [1], "are not 2 rows of 3 numbers"),
]


@pytest.mark.parametrize(("path", "value", "words"), WRONG, ids=[words for _, _, words in WRONG])
def test_what_is_wrong_is_named_with_its_place(tell, said, path, value, words):
    change(said, path, value)
    with pytest.raises(Corrupt, match=r"findings\.json") as caught:
        tell(said)
    assert words in str(caught.value)
