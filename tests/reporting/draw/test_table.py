import pytest

from yosegi.findings import Estimate, Table
from yosegi.reporting.draw.table import print_table


def test_the_intervals_of_a_column_share_an_axis():
    rows = [["a", Estimate(1.0, 0.0, 2.0), 7], ["b", Estimate(3.0, 2.0, 4.0, best=True), None]]
    numeric, printed = print_table(Table(["name", "value", "n"], rows))
    assert numeric == [False, True, True]
    first, second = (row[1].axis for row in printed)
    assert first.bar[0] == 0 and sum(first.bar) == pytest.approx(second.bar[0], abs=0.02) and first.mark < second.mark
    assert [cell.text for cell in printed[1]] == ["b", "3.000", "–"] and printed[0][2].axis is None
    assert printed[1][1].best and printed[1][1].interval == "2.000 to 4.000" and printed[0][2].value == 7


def test_more_rows_than_fit_are_left_to_the_file():
    assert len(print_table(Table(["a"], [["x"]] * 9), most=4)[1]) == 4
