"""Groups that mean nothing, but are always the same."""

import pytest

from tests.conftest import each
from yosegi.errors import Invalid
from yosegi.partitions.random_clusters import random_clusters

DATA = {f"task{n}": [f"example{n}"] for n in range(11)}


def test_groups_are_as_large_as_each_other_but_for_one():
    result = random_clusters(DATA, 4)
    assert list(result.groups) == ["random0", "random1", "random2", "random3"]
    assert [len(tasks) for tasks in result.tasks.values()] == [3, 3, 3, 2] == result.evidence["sizes"]
    assert [len(t) for t in random_clusters(DATA, 11).tasks.values()] == [1] * 11
    assert len(random_clusters(DATA, 1).groups["random0"]) == 11


def test_the_seed_decides_and_the_order_of_the_data_does_not():
    result = random_clusters(DATA, 3)
    assert random_clusters(dict(reversed(DATA.items())), 3) == result
    assert random_clusters(DATA, 3, seed=43) != result
    assert sum(result.tasks.values(), ()) != tuple(sorted(DATA)), "it is shuffled"


@each("k", [0, 12])
def test_the_possible_numbers_are_in_the_message(k):
    with pytest.raises(Invalid, match=rf"k={k}: 11 tasks can be 1 to 11 groups"):
        random_clusters(DATA, k)
