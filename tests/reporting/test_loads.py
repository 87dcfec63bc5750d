import pytest

from yosegi.reporting import loads

EXPERTS = ["a", "b"]


def router(**more):
    tasks = {"t": [[1.0, 0.0], [0.5, 0.5]], "u": [[0.0, 0.0], [2.0, 6.0]]}
    heard = {"t": [[1.0, 0.0], [1.0, 0.5]], "u": [[0.0, 0.0], [1.0, 1.0]]}
    cv, entropy = {"t": [1.0, 0.0], "u": [0.0, 0.5]}, {"t": [0.0, 0.6], "u": [0.0, 0.4]}
    known = {
        "layers": ["l.0", "l.1"],
        "tasks": tasks,
        "heard": heard,
        "cv": cv,
        "entropy": entropy,
        "balance": [1.0, 0.125],
    }
    return known | more


def test_the_load_is_the_share_of_the_weight():
    found = loads.load(router(), EXPERTS, "k")
    # layer 0: t all to a, u silent; layer 1: t even, u one to three
    assert found.layers is not None and '"values":[[0.5,0.0],[0.375,0.625]]' in found.layers.data
    assert [(line.label, line.value, line.words) for line in found.experts.lines] == [
        ("a", "0.438", "75 % of tokens"),
        ("b", "0.312", "38 % of tokens"),
    ]
    assert found.experts.reference[1] == "an even share"
    assert found.tasks == {"t": (1.25, 0.5), "u": (1.0, 0.25)}


def test_a_line_a_task_and_one_that_stands_out():
    found = loads.load(router(), EXPERTS, "k")
    assert [name for _, name in found.entropy.legend] == ["t", "u", "mean"]
    assert [name for _, name in found.balance.legend] == ["t", "u", "all tasks together"]
    assert "mean\nl.1: 0.500" in [mark.title for mark in found.entropy.marks]
    assert "all tasks together\nl.1: 0.125" in [mark.title for mark in found.balance.marks]


def test_of_many_tasks_the_band_is_drawn():
    many = {f"t{i}": [0.1 * i, 0.2] for i in range(9)}
    found = loads.load(router(entropy=many), EXPERTS, "k")
    assert found.entropy.legend == [] and found.entropy.marks[0].kind == "band"


def test_runs_of_before_have_their_entropy_only():
    old = router()
    del old["heard"], old["cv"], old["balance"]
    found = loads.load(old, EXPERTS, "k")
    assert found.entropy is not None
    assert (found.experts, found.balance, found.layers, found.tasks) == (None, None, None, {})
    assert loads.load({}, EXPERTS, "k") == loads.Load()


def test_of_one_layer_there_is_no_curve():
    one = {key: {"t": value["t"][:1]} for key, value in router().items() if isinstance(value, dict)}
    found = loads.load({"layers": ["l.0"], **one}, EXPERTS, "k")
    assert found.entropy is None and found.balance is None and found.layers is None and found.experts is not None


def test_the_largest_loads_are_listed():
    found = loads.load(router(), EXPERTS, "k", listed=1)
    assert [line.label for line in found.experts.lines] == ["a"] and found.left_out == 1


def test_how_many_layers_stand_behind_a_row_is_kept():
    found = loads.load(router(averaged=28), EXPERTS, "k")
    assert (found.averaged, found.rows) == (28, 2)


def test_numbers_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="shape"):
        loads.load(router(cv={"t": [1.0], "u": [1.0]}), EXPERTS, "k")
