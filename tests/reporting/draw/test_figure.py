import pytest

from yosegi.findings import Bars, Dot, Dots, Lines, Matrix, Point, Reference, Scatter, Series
from yosegi.reporting.draw import figure as drawings
from yosegi.reporting.draw.marks import LEVELS


def test_dots_lie_where_their_ticks_say():
    drawn = drawings.draw(
        Dots(
            "title",
            "caption",
            [Dot("a", 0.2, 0.1, 0.3), Dot("b", 0.4), Dot("c", None)],
            reference=Reference(0.2, "base"),
        )
    )
    at = {label: across for across, label in drawn.ticks}
    assert drawn.rows[0].axis.mark == pytest.approx(at["0.2"], abs=0.06) == pytest.approx(drawn.reference[0])
    low, wide = drawn.rows[0].axis.bar
    high = low + wide
    assert (low + high) / 2 == pytest.approx(at["0.2"], abs=0.1) and low == pytest.approx(at["0.1"], abs=0.06)
    assert (drawn.rows[1].axis.bar, drawn.rows[2].axis.mark, drawn.rows[2].value) == (None, None, "–")
    assert drawn.rows[0].details == "0.100 to 0.300" and drawn.has_details
    assert "3 rows: from a 0.200 to b 0.400" in drawn.description


def test_groups_have_colours_and_a_line_between_them():
    drawn = drawings.draw(
        Dots("title", "caption", [Dot("a", 1, group="x"), Dot("b", 2, group="x"), Dot("c", 3, group="y")])
    )
    assert [row.colour for row in drawn.rows] == ["c0", "c0", "c1"] and drawn.legend == [("c0", "x"), ("c1", "y")]
    assert [row.new_group for row in drawn.rows] == [False, False, True]


def test_a_scatter_has_its_line_and_its_diagonal():
    points = [Point(x, 2 * x + 1, f"p{x}") for x in range(5)]
    drawn = drawings.draw(Scatter("title", "caption", points, "here", "there", line=True, diagonal=True))
    assert "slope 2.000, intercept 1.000" in drawn.note and "y = x" in drawn.note and "slope 2.000" in drawn.description
    kinds = [mark.kind for mark in drawn.marks]
    assert kinds == ["guide", "fit", *["dot"] * 5]
    ends = [drawn.marks[i].points[0] for i in (2, 6)]
    assert drawn.marks[1].points == [pytest.approx(end) for end in ends], "it goes through its points"
    assert all(x == pytest.approx(100 - y) for x, y in drawn.marks[0].points), "both axes have one range"
    assert [name for *_, name in drawn.names] == [p.label for p in points]


def test_a_line_through_one_place_is_not_drawn():
    drawn = drawings.draw(Scatter("title", "caption", [Point(1, 1), Point(1, 2)], line=True))
    assert [mark.kind for mark in drawn.marks] == ["dot", "dot"] and drawn.note == ""


def test_many_points_are_thinned_and_have_no_names(monkeypatch):
    monkeypatch.setattr(drawings, "SCATTER", 50)
    drawn = drawings.draw(Scatter("title", "caption", [Point(i, i, str(i)) for i in range(500)]))
    assert len(drawn.marks) == 51 and "51 of 500 points" in drawn.note and drawn.names == []
    assert "Scatter of 500 points" in drawn.description


def test_lines_have_bands_and_stand_in_order():
    series = [
        Series("a", [(2, 1, 0.5, 1.5), (1, 0, -0.5, 0.5)]),
        Series("b", [(1, 0.5, None, None), (2, 0.5, None, None)]),
    ]
    drawn = drawings.draw(Lines("title", "caption", series, "k", "score", Reference(1.0)))
    assert [mark.kind for mark in drawn.marks] == ["band", "line", "dot", "dot", "line", "dot", "dot"]
    (x1, y1), (x2, y2) = drawn.marks[2].points[0], drawn.marks[3].points[0]
    assert x1 < x2 and y1 > y2, "sorted by x, and up is more"
    assert drawn.reference == (pytest.approx(y2, abs=0.06), "1") and drawn.legend == [("c0", "a"), ("c1", "b")]
    assert "a\n1: 0 (−0.500 to 0.500)" in [mark.title for mark in drawn.marks]


def test_one_line_may_stand_out():
    series = [Series(name, [(0, 0.5, None, None), (1, 0.5, None, None)]) for name in ("a", "mean")]
    drawn = drawings.draw_lines(Lines("title", "caption", series), "mean", lambda x: f"layer {x}", reach=(0.0, 2.0))
    assert [(mark.kind, mark.colour) for mark in drawn.marks[:2]] == [("line pale", "c0"), ("line", "ink")]
    assert drawn.marks[2].title == "mean\nlayer 0: 0.500"
    assert {"0", "2"} <= {label for _, label in drawn.y_ticks}


def test_short_names_stand_and_long_ones_lie():
    standing = drawings.draw(Bars("title", "caption", ["1", "2"], [1, -2]))
    assert standing.kind == "plot" and [mark.title for mark in standing.marks] == ["1: 1", "2: −2"]
    foot = {label: down for down, label in standing.y_ticks}["0"]
    tops = [mark.points[1][1] for mark in standing.marks]
    assert tops[0] < foot < tops[1]
    lying = drawings.draw(Bars("title", "caption", ["one cluster", "another"], [4, 8], y="examples"))
    assert lying.kind == "rows" and lying.zero == 0 and lying.x == "examples" and not lying.has_details
    ends = [row.axis.mark for row in lying.rows]
    assert ends[1] == pytest.approx(2 * ends[0], abs=0.1), "from zero"


def test_a_matrix_is_printed_where_it_is_small():
    drawn = drawings.draw(Matrix("title", "caption", ["a"], ["x", "y", "z"], [[0.5, None, 1.0]]))
    assert drawn.printed and not drawn.signed and [drawn.depth(v) for v in drawn.values[0]] == [0.0, 0.0, 1.0]
    both = drawings.draw(Matrix("title", "caption", ["a"], ["x", "y"], [[-0.5, 1.0]]))
    assert both.signed and both.depth(-0.5) == 0.5
    wide = drawings.draw(
        Matrix("title", "caption", ["a"], [str(i) for i in range(20)], [[float(i) for i in range(20)]]), "key"
    )
    assert not wide.printed and wide.key == "key" and wide.paths[-1][0] == LEVELS


@pytest.mark.parametrize(
    "shape",
    [Dots("title", "caption", []), Dots("title", "caption", [Dot("a", None)]), Scatter("title", "caption", []), Lines("title", "caption", []), Lines("title", "caption", [Series("a", [])]), Bars("title", "caption", [], []), Bars("title", "caption", ["a"], [None]), Matrix("title", "caption", [], [], [])],
)  # fmt: skip
def test_without_a_number_there_is_nothing_to_draw(shape):
    assert drawings.draw(shape) is None


@pytest.mark.parametrize("value", [0.0, 1.0, -3.0, 1e-12, 1e9])
def test_one_number_alone_has_an_axis(value):
    drawn = drawings.draw(Dots("title", "caption", [Dot("a", value), Dot("b", value + abs(value) * 1e-16)]))
    assert all(0 <= row.axis.mark <= 100 for row in drawn.rows) and drawn.ticks


def test_what_is_too_much_is_left_to_the_file(monkeypatch):
    monkeypatch.setattr(drawings, "ROWS", 2)
    monkeypatch.setattr(drawings, "GRID", 2)
    assert "the first 2 of 3 rows" in drawings.draw(Dots("title", "caption", [Dot(str(i), i) for i in range(3)])).note
    assert "the first 2 of 3 bars" in drawings.draw(Bars("title", "caption", list("abc"), [1, 2, 3])).note
    drawn = drawings.draw(Matrix("title", "caption", list("abc"), list("abc"), [[1, 2, 3]] * 3))
    assert drawn.values == [[1, 2]] * 2 and "first 2 rows and 2 columns" in drawn.note
