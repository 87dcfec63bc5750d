import pytest

from yosegi.reporting.sections.routing import Trace


def test_weights_are_one_for_each_expert():
    trace = Trace({"tasks": {"t": [[1.0]]}}, ["a", "b"], "k", 0)
    with pytest.raises(ValueError, match="one weight for each expert"):
        trace.tasks  # noqa: B018
    with pytest.raises(ValueError):
        trace.checked([[1.0, float("nan")]])


def test_there_is_room_for_so_many_squares():
    trace = Trace({}, [], "k", 100)
    assert (
        trace.first("abc", 45) == (["a", "b"], 1)
        and trace.first("abc", 101) == ([], 3)
        and trace.first("", 0) == ([], 0)
    )
