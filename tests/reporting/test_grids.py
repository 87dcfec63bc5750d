import json

from yosegi.reporting import grids


def test_shades_are_from_low_to_top_and_below_zero_has_its_own():
    grid = grids.draw("t", "k", ["r"], ["a", "b", "c", "d"], [[1.0, -0.5, None, 0.0]], 1.0)
    assert grid.paths == [(1.0, "M0 0.5h1")] and grid.below == [(0.5, "M1 0.5h1")]
    assert json.loads(grid.data)["values"] == [[1, -0.5, None, 0]]


def test_a_scale_may_begin_anywhere_and_a_flat_one_has_no_colour():
    assert grids.draw("t", "k", ["r"], ["a", "b"], [[0.5, 0.75]], 1.0, 0.5).paths == [(0.5, "M1 0.5h1")]
    assert grids.draw("t", "k", ["r"], ["a"], [[0.5]], 0.5, 0.5).paths == []


def test_it_knows_about_what_it_weighs():
    small, large = (grids.draw("t", "k", ["r"], ["a"] * n, [[1.0] * n], 1.0) for n in (1, 100))
    assert large.bytes - small.bytes > 99 * len("M0 0.5h1")
