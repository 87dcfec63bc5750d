"""How often each group is read and from when on: shares in every stretch, every row in turn, the same twice."""

from collections import Counter

import pytest

from yosegi.errors import Invalid, UnknownName
from yosegi.training.curriculum import schedule, shares, stages

GROUPS = ["easy"] * 30 + ["hard"] * 10


def read(places=200, seed=0, **how):
    order = schedule(GROUPS, places, seed, **how)
    assert len(order) == places
    return order, [GROUPS[row] for row in order]


def test_by_size_every_row_is_read_equally_often():
    order, _ = read(120)
    assert set(Counter(order).values()) == {3}
    assert order != read(120, seed=1)[0] and order == read(120)[0]


@pytest.mark.parametrize("weights", [{"easy": 1, "hard": 1}, {"easy": 1, "hard": 4}, {"easy": 0, "hard": 2}])
def test_every_stretch_keeps_the_shares(weights):
    order, groups = read(weights=weights)
    part = weights["hard"] / sum(weights.values())
    for end in range(1, 201):
        assert abs(groups[:end].count("hard") - part * end) <= 1
    for group in ("easy", "hard"):
        often = Counter(row for row in order if GROUPS[row] == group)
        assert not often or max(often.values()) - min(often[r] for r, g in enumerate(GROUPS) if g == group) <= 1


def test_temperature():
    sizes = {"a": 800, "b": 100}
    assert shares(sizes)["a"] == pytest.approx(8 / 9)
    assert shares(sizes, temperature=3)["a"] == pytest.approx(2 / 3), "the cube root of 8 is 2"
    assert shares(sizes, temperature=1e9)["a"] == pytest.approx(0.5)
    assert shares(sizes, {"a": 1, "b": 3}) == {"a": 0.25, "b": 0.75}


def test_growing():
    _, groups = read(200, weights={"easy": 1, "hard": 1}, curriculum=["easy", "hard"])
    assert set(groups[:100]) == {"easy"} and groups[100:].count("hard") == 50
    found = stages({"a": 0.5, "b": 0.25, "c": 0.25}, ["a", "b", "c"])
    assert [start for start, _ in found] == pytest.approx([0, 1 / 3, 2 / 3])
    assert found[0][1] == {"a": 1.0} and found[1][1]["a"] == pytest.approx(2 / 3)
    assert found[2][1] == {"a": 0.5, "b": 0.25, "c": 0.25}


def test_staged():
    _, groups = read(200, weights={"easy": 1, "hard": 3}, curriculum=["easy", "hard"], pace="staged")
    assert groups == ["easy"] * 50 + ["hard"] * 150


@pytest.mark.parametrize("pace", ["growing", "staged"])
def test_who_is_not_named_is_read_all_the_time(pace):
    for _, now in stages({"a": 0.4, "b": 0.4, "c": 0.2}, ["a", "b"], pace):
        assert now["c"] == 0.2 and sum(now.values()) == pytest.approx(1)


def test_a_curriculum_of_one_is_none():
    assert stages({"a": 0.5, "b": 0.5}, ["b"]) == [(0.0, {"a": 0.5, "b": 0.5})]
    assert stages({"a": 1.0, "b": 0.0}, ["b", "a"]) == [(0.0, {"a": 1.0, "b": 0.0})]


@pytest.mark.parametrize(
    "wrong",
    [
        {"weights": {"easy": 1}},
        {"weights": {"easy": -1, "hard": 1}},
        {"weights": {"easy": 0, "hard": 0}},
        {"weights": {"easy": float("nan"), "hard": 1}},
        {"temperature": 0},
        {"curriculum": ["easy", "easy"]},
    ],
)
def test_wrong_numbers(wrong):
    with pytest.raises(Invalid):
        read(**wrong)


@pytest.mark.parametrize("wrong", [{"weights": {"esy": 1, "hard": 1}}, {"curriculum": ["esy"]}, {"pace": "stagd"}])
def test_wrong_names(wrong):
    with pytest.raises(UnknownName, match="Did you mean"):
        read(**wrong)


def test_nothing_to_read():
    with pytest.raises(Invalid, match="no examples"):
        schedule([], 5, 0)
