"""Which trial is taken, and that its file makes the same expert."""

import pytest
import yaml

from yosegi.engine.fold import fold as fold_arm
from yosegi.engine.spec import parse_arm
from yosegi.errors import Invalid
from yosegi.run import Run
from yosegi.search import outcome
from yosegi.search.live import fold
from yosegi.search.outcome import Tried, choose, front
from yosegi.search.space import Recipe
from yosegi.search.study import search


def one(number, means, value=None, baseline=False, recipe=None):
    score = sum(means) / len(means)
    value = score if value is None else value
    return Tried(number, f"trial {number}", recipe or Recipe("merges", "cat"), value, score, tuple(means), (), baseline)


def test_the_best_value_among_those_that_are_not_below_a_baseline():
    every = [
        one(0, [0.5], 0.3, True),
        one(1, [0.2], 0.2, True),
        one(2, [0.4], 0.39),
        one(3, [0.6], 0.35),
        one(4, [0.6], 0.35),
    ]
    assert choose(every).number == 3, "2 is smaller and better for it, but below a baseline; of 3 and 4 the first"
    assert choose(every[:3]).number == 0
    with pytest.raises(Invalid, match="No trial is finished"):
        choose([])


def test_the_front_is_what_nobody_beats():
    points = [(0.1, 0.9), (0.5, 0.5), (0.4, 0.4), (0.9, 0.1), (0.5, 0.5), (0.9, 0.05), (0.0, 0.9)]
    every = [one(n, means) for n, means in enumerate(points)]
    assert [o.number for o in front(every)] == [0, 1, 3]


@pytest.fixture
def searched(plan, nano, tmp_path):
    def run(trials=3, **more):
        opened = plan(prune=False, **more).open(nano)
        found = search(opened.plan, Run(tmp_path / "r"), trials=trials, opened=opened)
        return opened, found, outcome.tried(found, opened.space)

    return run


@pytest.mark.parametrize("method", ["cat", "svd"])
def test_best_yaml_makes_the_expert_that_was_chosen(searched, tmp_path, shelf, method):
    opened, found, every = searched(methods=(method,))
    for best in every[1:]:
        said = yaml.safe_load(outcome.write(best, opened, tmp_path / "r", "x").read_text())
        made = fold_arm(parse_arm(said["arm"], shelf), said["name"])
        kept = outcome.keep(best, opened, found, "x")
        folded = fold(opened.experts, best.recipe, opened.groups)
        for layer in folded.factors:
            assert made.delta(layer).allclose(folded.delta(layer), atol=1e-5)
            assert kept.delta(layer).equal(folded.delta(layer))
    assert len(every[1:]) == 7


def test_a_card_says_how_it_was_found(searched, shelf):
    opened, found, every = searched(groups=2)
    best = next(o for o in every if o.label == "uniform")
    expert = outcome.keep(best, opened, found, "kept")
    shelf.add(expert)
    card = shelf.card("kept")
    assert card["training"]["search"]["split"] == "validation" and card["training"]["search"]["trials"] == 8
    assert card["training"]["weights"] == {g: dict.fromkeys("abc", 1 / 3) for g in opened.space.groups}
    assert card["metrics"]["validation skills/add:logp"] == best.means[0] and card["parents"] == ["a", "b", "c"]
    said = outcome.describe(best, opened)
    assert "weights" not in said and set(said["groups"]) == set(opened.space.groups)


def test_the_base_is_nothing_to_keep(searched):
    opened, found, every = searched(0)
    with pytest.raises(Invalid, match="nothing to keep as 'x'"):
        outcome.keep(every[0], opened, found, "x")
    assert outcome.describe(every[0], opened)["experts"] == []


def test_a_router_is_told_by_its_settings(searched, tmp_path):
    opened, found, every = searched(1, router="arrow")
    text = outcome.write(every[-1], opened, tmp_path / "r").read_text()
    assert yaml.safe_load(text) == {"router": "arrow", **every[-1].recipe.args} and "yosegi eval --router" in text
    with pytest.raises(Invalid, match="arrow"):
        outcome.keep(every[-1], opened, found, "x")


def test_a_gain_is_counted_question_by_question():
    before = Tried(0, "b", Recipe("merges", "cat"), 0, 0, (0.5,), ((1.0, 0.0, 0.0, 1.0),), True)
    after = Tried(1, "a", Recipe("merges", "cat"), 0, 0, (0.75,), ((1.0, 1.0, 1.0, 0.0),), False)
    (found,) = outcome.gain(after, before)
    assert (found.gained, found.lost, found.diff) == (2, 1, 0.25)
