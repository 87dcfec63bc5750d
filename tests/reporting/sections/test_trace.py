import pytest

from yosegi.reporting.sections._trace import ROWS, Trace, fold


def test_many_layers_are_averaged_by_block_and_then_by_neighbours():
    names = [f"model.layers.{i}.{part}" for i in range(20) for part in ("up", "down")]
    rows, values = fold(names, [[float(i % 2), 0.0] for i in range(40)])
    assert rows[:2] == ["block 0", "block 1"] and len(rows) == 20 and values == [[0.5, 0]] * 20
    rows, values = fold([f"l.{i}" for i in range(2 * ROWS + 1)], [[float(i)] for i in range(2 * ROWS + 1)])
    assert len(rows) <= ROWS and rows[0] == "block 0 +" and values[0] == [1.0]
    assert fold(["a"], [[1.0]]) == (["a"], [[1.0]])


def test_weights_are_one_for_each_expert():
    trace = Trace({"tasks": {"t": [[1.0]]}}, ["a", "b"], "k", 0)
    with pytest.raises(ValueError, match="one weight for each expert"):
        trace.tasks  # noqa: B018
    with pytest.raises(ValueError):
        trace.checked([[1.0, float("nan")]])


def test_room_is_taken_up_by_what_fits():
    trace = Trace({}, [], "k", 100)
    assert trace.take([30, 30, 20], 0.5) == [True, False, True] and trace.room == 50
