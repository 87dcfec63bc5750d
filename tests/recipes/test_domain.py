"""What `domain` trains, reads and chooses."""

import dataclasses

import pytest

from yosegi import tasks
from yosegi.bases import load
from yosegi.errors import Invalid
from yosegi.recipes._domain import claims, judge
from yosegi.recipes._domain_texts import Texts, made_up, spread
from yosegi.recipes.domain import SMOKE, Config, Study, main
from yosegi.run import Run


@pytest.fixture
def study(tmp_path):
    run = Run(tmp_path)
    made = made_up(run)
    config = dataclasses.replace(
        SMOKE, domain=made["domain"], quiz=made["quiz"], second=(made["second"],), general=(made["general"],), timed=0
    )
    return Study(load("nano"), config, run, 0)


def test_texts_are_weighed_and_not_written(study):
    texts = Texts(study.config.domain, most=2)
    some = texts.examples("validation")
    assert len(some) == 2 and texts.candidates(some[0])["passage"].texts == (some[0].prompt + some[0].target,)
    score = texts.score_logprobs(some[0], {"passage": [tasks.LogProb(-6.0, 3)]})
    assert score.value == pytest.approx(0.1353, abs=1e-4)
    assert score.metrics["bits_per_character"] == pytest.approx(6 / 0.6931 / len(some[0].target), rel=1e-3)


def test_passages_are_taken_evenly():
    some = [tasks.Example(str(n), "", "x") for n in range(10)]
    assert [e.id for e in spread(some, 3)] == ["0", "4", "8"]
    assert spread(some, None) == some and spread(some, 20) == some


def test_what_is_searched_by_is_not_what_is_measured(study):
    name = study.config.domain
    every = {e.id for e in tasks.load(name).examples("validation")}
    measured = {e.id for e in Texts(name, most=2).examples("validation")}
    left = {e.id for e in Texts(name, but=2).examples("validation")}
    assert left and not left & measured and left | measured == every
    assert Texts(name, but=len(every)).examples("validation") == []


def test_ways_that_choose_no_rate_take_that_of_one_that_does(study):
    ways = {way.name: way for way in study.ways()}
    assert set(way.name for way in study.choosing()) == {"LoRA r 2", "GaLore r 4"}
    assert ways["GaLore r 4 at LoRA's rate"].rate == "LoRA r 2"
    assert ways["LoRA r 2, general texts"].reads == "general" and ways["LoRA r 2, second domain"].reads == "second"
    assert all(way.rate in ways for way in ways.values() if way.rate)


def test_the_lowest_loss_of_the_short_trainings_is_taken(study):
    chosen = study.rates()
    from yosegi import files

    losses = files.read_json(study.run.path / "settings.json")["LoRA r 2"]
    assert chosen["LoRA r 2"] == float(min(losses, key=losses.__getitem__)) and len(losses) == 2
    assert chosen["GaLore r 4"] == SMOKE.galore_rates[0]
    before = (study.run.path / "pilot" / "metrics.jsonl").read_text()
    assert study.rates() == chosen and (study.run.path / "pilot" / "metrics.jsonl").read_text() == before


def test_equal_time_is_more_steps_for_the_quicker(study, monkeypatch):
    monkeypatch.setattr(
        Study, "paces", lambda self: {"LoRA r 2": {"seconds": 0.2}, "GaLore r 4": {"seconds": 0.1}}
    )  # fmt: skip
    study.config = dataclasses.replace(study.config, timed=1, steps=10)
    longer = [way for way in study.ways() if way.longer]
    assert [(way.name, study.steps(way)) for way in longer] == [("GaLore r 4, equal time", 20)]
    monkeypatch.setattr(
        Study, "paces", lambda self: {"LoRA r 2": {"seconds": 0.101}, "GaLore r 4": {"seconds": 0.1}}
    )  # fmt: skip
    assert not [way for way in study.ways() if way.longer]


def test_every_claim_is_of_arms_that_are_trained_or_merged(study):
    names = {"base", "searched weights", "full", *(way.name for way in study.ways())}
    names |= {f"all parts, {weight:g} each" for weight in study.config.hand_set}
    for _, arm, against, _, _ in claims(study.config, study.ways()):
        assert arm in names and against in names


def test_a_claim_is_judged_by_the_same_questions():
    for n, verdict in ((3, "inside the noise"), (20, "holds")):  # three passages, however alike, prove nothing
        measured = {"domain": {"a": {0: [x + 0.5 for x in range(n)]}, "b": {0: [float(x) for x in range(n)]}}}
        said = judge(("a beats b", "a", "b", "domain", "> 0"), measured)
        assert said is not None and said[3]["value"] == 0.5 and said[4] == verdict
    assert judge(("a beats c", "a", "c", "domain", "> 0"), measured) is None


def test_nothing_to_compare_is_refused(tmp_path):
    with pytest.raises(Invalid, match="a seed, and a rank"):
        main(dataclasses.replace(SMOKE, lora=()), Run(tmp_path))
    assert Config().domain == "corpus/ja_railway_law"
