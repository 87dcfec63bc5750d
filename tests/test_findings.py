"""The types of findings.json: what is written is read again, and what is wrong is named with its place."""

import json

import pytest

from yosegi.errors import Corrupt
from yosegi.findings import (
    Bars,
    Dot,
    Dots,
    Estimate,
    Finding,
    Lines,
    Matrix,
    Point,
    Reference,
    Scatter,
    Series,
    Table,
    load,
    save,
)

FINDINGS = [
    Finding(
        "Arrow comes near the oracle",
        ["One paragraph.", "経路は専門家を選ぶ。"],
        Table(
            ["model", "accuracy", 4],  # type: ignore[list-item]
            [["base", Estimate(0.25, 0.125, 0.375), -1.5], ["arrow", Estimate(0.75, best=True), None]],
            note="Means of tasks.",
        ),
        Dots(
            "t", "c", [Dot("base", 0.25, 0.125, 0.375, "without"), Dot("untested", None)], "x", Reference(0.5, "chance")
        ),
    ),
    Finding(
        "Scatter", figure=Scatter("t", "c", [Point(0.25, 1.5, "pair", "b"), Point(1, None)], line=True, diagonal=True)
    ),
    Finding(
        "Lines",
        figure=Lines("t", "c", [Series("MBC", [(4, 1.0), (1, 0.5, 0.25, 0.75), (2, None)])], "x", "y", Reference(1)),
    ),
    Finding("Bars", figure=Bars("t", "c", ["0", "a"], [5, 0.5])),
    Finding("Matrix", figure=Matrix("t", "c", ["a", "b"], ["x", "y"], [[1, None], [0.5, 0]])),
    Finding("A heading is enough"),
]


def test_what_is_saved_is_loaded_again(tmp_path):
    save(tmp_path, "What came out", FINDINGS)
    found = load(tmp_path)
    assert found is not None and found.title == "What came out" and found.findings == FINDINGS
    assert FINDINGS[0].table is not None and FINDINGS[0].table.columns[2] == "4", "a number may be a name"
    assert isinstance(FINDINGS[3].figure, Bars) and isinstance(FINDINGS[3].figure.values[0], int), "a count stays one"
    written = json.loads((tmp_path / "findings.json").read_text())
    assert written["findings"][1]["figure"]["kind"] == "scatter"


def test_a_run_may_have_no_findings(tmp_path):
    assert load(tmp_path) is None


def test_nan_becomes_null(tmp_path):
    save(
        tmp_path,
        "t",
        [Finding("h", table=Table(["a"], [[float("nan")]]), figure=Bars("t", "c", ["a"], [float("inf")]))],
    )
    assert not {"NaN", "Infinity"} & set((tmp_path / "findings.json").read_text().split())
    (tmp_path / "findings.json").write_text(
        '{"title": "t", "findings": [{"heading": "h", "table": {"columns": ["a"], "rows": [[NaN]]}}]}'
    )
    found = load(tmp_path)
    assert found is not None and found.findings[0].table == Table(["a"], [[None]])


def test_points_without_a_number_are_not_known():
    assert FINDINGS[1].figure.known() == [(0.25, 1.5, Point(0.25, 1.5, "pair", "b"))]
    assert FINDINGS[2].figure.series[0].known() == [(1, 0.5, 0.25, 0.75), (4, 1.0, None, None)]


def change(value, path, new):
    *way, last = path
    for key in way:
        value = value[key]
    if new is KeyError:
        del value[last]
    else:
        value[last] = new


ROW = ("findings", 0, "figure", "rows", 1)
WRONG = [
    (("title",), KeyError, "title is missing"),
    (("title",), None, "title is None"),
    (("findings",), {}, "findings is {}, not a list"),
    (("findings", 1), "text", "findings[1] is 'text'"),
    (("findings", 0, "heading"), 3, "findings[0].heading is 3"),
    (("findings", 0, "text"), "a paragraph", "findings[0].text is 'a paragraph', not a list"),
    (("findings", 0, "txt"), [], "findings[0] has 'txt', which nobody reads"),
    (("findings", 0, "table", "rows", 1), [1, 2], "findings[0].table has 2 cells in row 2, and 3 columns"),
    (("findings", 0, "table", "rows", 0, 1), True, "rows[0][1] is not a number, but True"),
    (("findings", 0, "table", "rows", 0, 1, "best"), 1, "rows[0][1].best is 1"),
    (("findings", 0, "table", "rows", 0, 1, "value"), KeyError, "rows[0][1].value is missing"),
    (("findings", 0, "figure", "kind"), "pie", "does not match any of the expected tags: 'dots', 'scatter', 'lines', 'bars'"),
    (("findings", 0, "figure", "caption"), KeyError, "findings[0].figure.caption is missing"),
    (("findings", 0, "figure", "rows"), None, "figure.rows is None"),
    ((*ROW, "value"), "0.5", "figure.rows[1].value is '0.5': input should be a valid number"),
    (("findings", 1, "figure", "points", 0, "z"), 1, "findings[1].figure.points[0] has 'z'"),
    (("findings", 2, "figure", "series", 0, "points", 1), [1, 2, 3], "series[0] has a point 2 that is neither"),
    (("findings", 2, "figure", "series", 0, "points"), None, "series[0].points is None"),
    (("findings", 3, "figure", "values"), [1], "figure has 2 labels and 1 values"),
    (("findings", 4, "figure", "values", 0), [1], "figure needs values of 2 rows and 2 columns"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "words"), WRONG, ids=[words for _, _, words in WRONG])
def test_what_is_wrong_is_named_with_its_place(tmp_path, path, value, words):
    save(tmp_path, "t", FINDINGS)
    written = json.loads((tmp_path / "findings.json").read_text())
    change(written, path, value)
    (tmp_path / "findings.json").write_text(json.dumps(written))
    with pytest.raises(Corrupt, match=r"findings\.json") as caught:
        load(tmp_path)
    assert words in str(caught.value)


def test_a_writer_is_told_at_once():
    with pytest.raises(ValueError, match="2 cells in row 1"):
        Table(["a"], [[1, 2]])
