import pytest

from yosegi.reporting.sections.routing import Trace, load


def router(**more):
    tasks = {"t": [[1.0, 0.0], [0.5, 0.5]], "u": [[0.0, 0.0], [2.0, 6.0]]}
    active = {"t": [[1.0, 0.0], [1.0, 0.5]], "u": [[0.0, 0.0], [1.0, 1.0]]}
    cv, entropy = {"t": [1.0, 0.0], "u": [0.0, 0.5]}, {"t": [0.0, 0.6], "u": [0.0, 0.4]}
    known = {"layers": ["l.0", "l.1"], "tasks": tasks, "active": active, "cv": cv, "entropy": entropy}
    return known | {"balance": [1.0, 0.125]} | more


def loaded(row, listed=40):
    return load(Trace(row, ["a", "b"], "k", 0), listed)


def test_the_load_is_the_share_of_the_weight():
    found = loaded(router())
    # layer 0: t all to a, no expert active on u; layer 1: t even, u one to three
    assert found["layers"].values == [[0.5, 0.0], [0.375, 0.625]]
    assert [(row.label, row.value, row.details) for row in found["experts"].rows] == [
        ("a", "0.438", "75 % of tokens"),
        ("b", "0.312", "38 % of tokens"),
    ]
    assert found["experts"].reference[1] == "an even share"
    assert found["tasks"] == {"t": (1.25, 0.5), "u": (1.0, 0.25)}


def test_a_line_per_task_and_one_that_stands_out():
    found = loaded(router())
    assert [name for _, name in found["entropy"].legend] == ["t", "u", "mean"]
    assert [name for _, name in found["balance"].legend] == ["t", "u", "all tasks together"]
    assert "mean\nl.1: 0.500" in [mark.title for mark in found["entropy"].marks]
    assert "all tasks together\nl.1: 0.125" in [mark.title for mark in found["balance"].marks]


def test_of_many_tasks_the_band_is_drawn():
    found = loaded(router(entropy={f"t{i}": [0.1 * i, 0.2] for i in range(9)}))
    assert found["entropy"].legend == [] and found["entropy"].marks[0].kind == "band"


def test_without_a_load_there_is_the_entropy_only():
    old = router()
    del old["active"], old["cv"], old["balance"]
    found = loaded(old)
    assert found["entropy"] is not None and not any(found[key] for key in ("experts", "balance", "layers", "tasks"))
    assert not any(loaded({}).values())


def test_of_one_layer_there_is_no_curve():
    one = {key: {"t": value["t"][:1]} for key, value in router().items() if isinstance(value, dict)}
    found = loaded({"layers": ["l.0"], **one})
    assert found["entropy"] is None and found["balance"] is None and found["layers"] is None
    assert found["experts"] is not None


def test_the_largest_loads_are_listed():
    found = loaded(router(), listed=1)
    assert [row.label for row in found["experts"].rows] == ["a"] and found["left_out"] == 1


def test_numbers_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="shape"):
        loaded(router(cv={"t": [1.0], "u": [1.0]}))
