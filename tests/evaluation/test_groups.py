"""The routing of groups of examples: as of tasks, each example known by its own."""

import pytest

from yosegi import files
from yosegi.engine.arm import Arm
from yosegi.evaluation.groups import in_turn, trace_groups
from yosegi.evaluation.routing import trace
from yosegi.run import Run
from yosegi.tasks import load

ADD, REVERSE = (load(f"skills/{name}").examples("test")[:4] for name in ("add", "reverse"))


def test_groups_stand_beside_the_tasks(nano, pair, tmp_path):
    run, arm = Run(tmp_path), Arm("a", pair, "arrow", {"top_k": 1})
    files.write_json(tmp_path / "routing.json", {"experts": ["adder", "turner"], "routers": {"a": {}}})
    found = trace_groups(nano, arm, {"short": {"skills/add": ADD[:2]}, "long": {"skills/reverse": REVERSE}}, run)
    kept = files.read_json(tmp_path / "routing.json")["routers"]
    assert list(kept) == ["a", "a by type"] and kept["a by type"] == found and list(found["tasks"]) == ["short", "long"]
    with arm.attached(nano) as banks:
        assert found["tasks"]["short"] == trace(nano, banks, {"t": ADD[:2]})["tasks"]["t"]


def test_each_example_is_known_by_its_task(nano, pair, tmp_path):
    """The oracle hears the task: half of a group of two tasks hears the one expert, half the other."""
    groups = {"both": {"skills/add": ADD[:2], "skills/reverse": REVERSE[:2]}, "one": {"skills/add": ADD[:2]}}
    found = trace_groups(nano, Arm("o", pair, "oracle"), groups, Run(tmp_path), name="mine")
    assert found["tasks"]["one"][0] == [1.0, 0.0] and 0 < found["tasks"]["both"][0][0] < 1
    assert list(files.read_json(tmp_path / "routing.json")["routers"]) == ["mine"]


def test_the_base_alone_has_nobody_to_hear(nano, tmp_path):
    assert trace_groups(nano, Arm("base"), {"g": {"skills/add": ADD}}, Run(tmp_path)) == {}
    assert not (tmp_path / "routing.json").exists()


@pytest.mark.parametrize(
    ("most", "found"), [(1, ["a0"]), (3, ["a0", "a1", "b0"]), (4, ["a0", "a1", "a2", "b0"]), (9, None)]
)
def test_tasks_take_turns(most, found):
    tasks = {"a": ["a0", "a1", "a2"], "b": ["b0"]}
    assert [example for _, example in in_turn(tasks, most)] == (found or ["a0", "a1", "a2", "b0"])
