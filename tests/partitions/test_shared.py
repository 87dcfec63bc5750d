"""One learner for everything."""

from yosegi.partitions.shared import shared


def test_one_learner_has_everything_in_order():
    found = shared({"sort": ["a", "b"], "add": ["c"]}, name="all of it")
    assert found.groups == {"all of it": ["a", "b", "c"]} and found.tasks == {"all of it": ("sort", "add")}
    assert list(shared({"sort": ["a"]}).groups) == ["shared"]
