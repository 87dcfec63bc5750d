"""What is left of a search: a spec that makes the same arm, and a kept arm that says how it was found."""

import pytest
import yaml

from tests.search.conftest import go
from yosegi.engine.fold import fold
from yosegi.engine.kept import arms, load_arm, read_arm
from yosegi.engine.spec import parse_arm
from yosegi.errors import Invalid
from yosegi.run import Run
from yosegi.search.outcome import Outcome, search_arms
from yosegi.search.settings import open_search
from yosegi.search.trials import tried


@pytest.fixture
def searched(settings, nano, tmp_path):
    def run(trials=3, **more):
        opened = open_search(settings(prune=False, **more), nano)
        study = go(opened, Run(tmp_path / "r"), trials=trials)
        every = tried(study, opened.space)
        return [Outcome(opened, Run(tmp_path / "r"), study, every, best) for best in every]

    return run


@pytest.mark.parametrize("merge", ["cat", "svd"])
def test_best_yaml_makes_the_arm_that_was_chosen(searched, tmp_path, shelf, merge):
    outcomes = searched(arm=[f"merge:{merge}"])
    for outcome in outcomes[1:]:
        outcome.write()
        written = yaml.safe_load((tmp_path / "r" / "best.yaml").read_text())
        made, folded = fold(parse_arm(written["arm"], shelf), "x"), fold(outcome.best.arm, "x")
        assert made.factors.keys() == folded.factors.keys()
        for layer in folded.factors:
            assert made.delta(layer).equal(folded.delta(layer))
    assert len(outcomes[1:]) == 7


def test_weights_by_groups_are_a_kept_arm(searched, shelf):
    outcome = next(o for o in searched(groups=2) if o.best.label == "uniform")
    outcome.keep(shelf, "kept")
    arm, card, best, space = load_arm(shelf, "kept"), read_arm(shelf, "kept"), outcome.best, outcome.search.space
    assert arm.merge_args["weights"] == dict.fromkeys(space.groups, [1 / 3] * 3)
    assert card["training"]["search"]["split"] == "validation" and card["training"]["search"]["trials"] == 8
    assert card["training"]["metrics"]["validation skills/add:logp"] == best.means[0]
    for layer in fold(best.arm, "x").factors:
        assert fold(arm, "x").delta(layer).equal(fold(best.arm, "x").delta(layer))
    assert outcome.spec["groups"] == {label: dict.fromkeys("abc", 1 / 3) for label in space.labels}
    assert "--keep NAME" in outcome.next


def test_the_base_is_nothing_to_keep(searched, shelf):
    base = searched(0)[0]
    with pytest.raises(Invalid, match="nothing to keep as 'x'"):
        base.keep(shelf, "x")
    assert base.spec == "base"


def test_a_router_is_kept_with_its_arguments(searched, tmp_path, shelf):
    outcome = searched(1, arm=["arrow(a,b)"])[-1]
    outcome.write()
    text = (tmp_path / "r" / "best.yaml").read_text()
    written = parse_arm(yaml.safe_load(text)["arm"], shelf)
    assert "yosegi eval" in text and written.router_args == outcome.best.arm.router_args
    outcome.keep(shelf, "routed")
    assert load_arm(shelf, "routed").router_args == written.router_args


def test_the_whole_search_from_its_settings(settings, nano, shelf, trio, tmp_path, monkeypatch):
    monkeypatch.setattr("yosegi.search.settings.load", lambda _, **loading: nano)
    with pytest.raises(Invalid, match="The base alone was best.*nothing to keep as 'blend'"):
        search_arms(settings(trials=0, keep="blend", penalty=100.0), tmp_path / "base")
    assert "no blend was better" in (tmp_path / "base" / "best.yaml").read_text()
    for expert in trio:  # of so little that of w and -w one helps
        shelf.add(expert.scale(0.03), overwrite=True)
    asked = settings(trials=8, keep="blend", prune=False, penalty=0.0, negative=True, arm=["merge:svd"])
    result = search_arms(asked, tmp_path / "r")
    described = result.describe()
    assert described["trials"] == 13 and described["chosen"] == result.best.label
    assert described["arm"] == yaml.safe_load((tmp_path / "r" / "best.yaml").read_text())["arm"]
    assert set(described["baselines"]) == {"base", "uniform", "a alone", "b alone", "c alone"}
    assert result.best.score >= max(one.score for one in result.trials if one.baseline) and result.best.arm.experts
    assert arms(shelf) == ["blend"] and "--arm blend" in result.next
    assert search_arms(asked, tmp_path / "r").describe() == described, "the same again has nothing to do"
    for name in ("a", "x/y"):
        with pytest.raises(Invalid, match="expert called 'a'|path separator"):
            search_arms(settings(keep=name), tmp_path / "s")
    assert not (tmp_path / "s").exists()
