import json

from yosegi.reporting.draw.marks import LEVELS, Axis, Heat, Mark, colours, on_axis, tiles


def heat(values, top, low=0.0):
    return Heat("t", "k", ["r"], [str(i) for i in range(len(values[0]))], values, top, low)


def test_shades_are_from_low_to_top_and_below_zero_has_its_own():
    one = heat([[1.0, -0.5, None, 0.0]], 1.0)
    assert one.paths == [(-LEVELS // 2, "M1 0.5h1"), (LEVELS, "M0 0.5h1")] and one.signed
    assert json.loads(one.data)["values"] == [[1, -0.5, None, 0]]


def test_a_scale_may_begin_anywhere_and_a_flat_one_has_no_colour():
    assert heat([[0.5, 0.75]], 1.0, 0.5).paths == [(LEVELS // 2, "M1 0.5h1")]
    assert heat([[0.5]], 0.5, 0.5).paths == []


def test_equal_neighbours_are_one_stroke():
    assert tiles(["aab", "bbb"]) == {"a": "M0 0.5h2", "b": "M2 0.5h1M0 1.5h3"}


def test_lines_dots_and_outlines_have_their_paths():
    points = [(0.0, 1.0), (2.0, 3.04)]
    assert Mark("line dashed", "c0", points).path == "M0 1L2 3.04"
    assert Mark("dot", "c0", points).path == "M0 1h0M2 3.04h0"
    assert Mark("band", "c0", points).path == "M0 1L2 3.04z"


def test_the_eleventh_group_has_the_first_colour_again():
    assert list(colours("abcdefghijk").values())[-1] == "c0" and colours("aab") == {"a": "c0", "b": "c1"}


def test_an_axis_of_one_number_has_its_marks_in_the_middle():
    assert on_axis((1.0, 1.0), 1.0, None, None) == Axis(None, 50.0)
    assert on_axis((0.0, 4.0), 1.0, 0.0, 2.0, 3.0, [1.0, 2.0]) == Axis((0.0, 50.0), 25.0, 75.0, (25.0, 50.0))
