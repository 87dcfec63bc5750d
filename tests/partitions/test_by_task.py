"""One learner a task."""

from yosegi.partitions.by_task import by_task


def test_each_task_is_its_own_learner():
    found = by_task({"sort": ["a", "b"], "add": ["c"]})
    assert found.groups == {"sort": ["a", "b"], "add": ["c"]} and list(found.groups) == ["sort", "add"]
    assert found.tasks == {"sort": ("sort",), "add": ("add",)} and found.evidence == {}
