import pytest

from yosegi.reporting.sections._trace import Trace


def test_weights_are_one_for_each_expert():
    trace = Trace({"tasks": {"t": [[1.0]]}}, ["a", "b"], "k", 0)
    with pytest.raises(ValueError, match="one weight for each expert"):
        trace.tasks  # noqa: B018
    with pytest.raises(ValueError):
        trace.checked([[1.0, float("nan")]])


def test_room_is_taken_up_by_what_fits():
    trace = Trace({}, [], "k", 100)
    assert trace.take([30, 30, 20], 0.5) == [True, False, True] and trace.room == 50
