import pytest

from yosegi.findings import Reference
from yosegi.reporting.draw.scale import POINTS, Scale, extremes, thin, ticks


def test_ticks_are_round():
    assert ticks(0, 400, 6) == [0, 100, 200, 300, 400]
    assert ticks(0.13, 0.61, 5) == [0.2, 0.3, 0.4, 0.5, 0.6]
    assert ticks(3, 3, 5) == [3]


def test_zero_is_an_end_and_everything_else_has_room():
    scale = Scale([0.0, 1.0])
    assert scale(0.0) == 0 and 95 < scale(1.0) < 100 and scale.down(0.0) == 100
    assert Scale([2.0, 4.0], room=0)(3.0) == 50
    assert Scale([None, 1.0], Reference(3.0, "there")).reference[1] == "there" and Scale([]).known == []


def test_on_a_log_scale_equal_ratios_are_equally_far_apart():
    scale = Scale([0.01, 1.0], log=True)
    assert scale(0.1) == pytest.approx(50) and {"0.01", "0.1", "1"} <= {label for _, label in scale.ticks(5)}


@pytest.mark.parametrize("value", [0.0, 1.0, -3.0, 1e-12, 1e9])
def test_one_number_alone_has_an_axis(value):
    scale = Scale([value, value + abs(value) * 1e-16])
    assert 0 <= scale(value) <= 100 and scale.ticks(5) and scale.ticks_down(5)


def test_long_lines_are_thinned_and_spikes_survive():
    points = [(float(i), 9.0 if i == 5001 else i % 3 / 10) for i in range(10_000)]
    assert len(thin(points)) <= POINTS + 1 and thin(points)[-1] == points[-1]
    assert len(extremes(points)) <= 2 * POINTS and max(y for _, y in extremes(points)) == 9.0
    assert extremes(points[:5]) == points[:5] == thin(points[:5])
