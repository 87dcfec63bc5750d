"""Validation measures what it says, on time, once, and leaves no trace in what is learnt."""

import json
import math

import pytest
import torch

from tests.training.conftest import flat, sums, tiny_base, train
from yosegi import files
from yosegi.core.model import attach
from yosegi.engine.rows import collate
from yosegi.errors import Invalid
from yosegi.objectives.lm import lm
from yosegi.routers.uniform import Uniform
from yosegi.run import Run
from yosegi.tasks import Example
from yosegi.training.data import read
from yosegi.training.fleet import fleet
from yosegi.training.job import Job
from yosegi.training.settings import Settings
from yosegi.training.validation import Validation, mean_loss

LM = Settings(
    objective="lm", pack=16, max_steps=7, per_device_train_batch_size=3, learning_rate=5e-3, dropout=0.2, rank=4,
    save_steps=2,
)  # fmt: skip
TRAIN, HELD, GENERAL = sums()[:60], sums()[60:], [Example(str(i), "", "abcdefghij"[i:] * 3) for i in range(9)]
SETS = Validation({"sums": HELD, "letters": GENERAL}, eval_steps=3)
GROUPS = {"a": TRAIN[:30], "b": TRAIN}


def seen(run):
    return [row for row in files.read_jsonl(run.path / "metrics.jsonl") if "validation_loss" in row]


def times(run, expert):
    return [(row["step"], row["validation"]) for row in seen(run) if row["expert"] == expert]


def steps_of(run, expert):
    return [r["step"] for r in files.read_jsonl(run.path / "metrics.jsonl") if "loss" in r and r["expert"] == expert]


DUE = [(step, name) for step in (0, 3, 6, 7) for name in ("sums", "letters")]


def test_the_mean_is_that_of_a_loop(base):
    rows = read(base, HELD, LM).rows
    total, tokens = 0.0, 0
    for row in rows:
        total += lm(base.model, collate(0)([row]), 1).item()
        tokens += sum(label != -100 for label in row["labels"])
    assert mean_loss(base, rows, LM) == pytest.approx(total / tokens, rel=1e-5)
    assert mean_loss(base, rows, LM, tokens_per_pass=20) == pytest.approx(total / tokens, rel=1e-5)
    plain = LM.model_copy(update={"pack": None})
    assert mean_loss(base, read(base, HELD, plain).rows, plain) == pytest.approx(math.log(26), rel=0.05), (
        "it knows nothing"
    )


@pytest.mark.parametrize("way", ["train", "fleet"])
@pytest.mark.parametrize("pack", [None, 16])
def test_with_and_without_it_the_same_is_learnt_to_the_bit(tmp_path, way, pack):
    settings = LM.model_copy(update={"pack": pack})

    def learn(name, validation):
        run = Run(tmp_path / name)
        if way == "train":
            return run, [train(tiny_base(), TRAIN, "a", run, settings, validation=validation)]
        return run, fleet(tiny_base(), GROUPS, run, settings, validation=validation)

    (with_run, watched), (without_run, alone) = learn("with", SETS), learn("without", None)
    for one, other in zip(watched, alone, strict=True):
        assert torch.equal(flat(one), flat(other))
    assert times(with_run, "a") == DUE and not seen(without_run)
    rows = {
        name: files.read_jsonl(run.path / "metrics.jsonl")
        for name, run in (("with", with_run), ("without", without_run))
    }
    kept = [row | {"wall_s": 0, "tokens_per_s": 0} for row in rows["with"] if "loss" in row]
    assert kept == [row | {"wall_s": 0, "tokens_per_s": 0} for row in rows["without"]]


def test_what_is_written_down_is_the_loss_of_the_expert_and_first_that_of_the_base(tmp_path):
    base, run = tiny_base(), Run(tmp_path)
    expert = train(base, TRAIN, "a", run, LM, validation=SETS)
    first, last = ({r["validation"]: r["validation_loss"] for r in seen(run) if r["step"] == s} for s in (0, 7))
    for name, examples in SETS.sets.items():
        assert first[name] == pytest.approx(mean_loss(base, read(base, examples, LM).rows, LM), rel=1e-6)
        banks = attach(base.model, [expert], Uniform())
        try:
            assert last[name] == pytest.approx(mean_loss(base, read(base, examples, LM).rows, LM), rel=1e-5)
        finally:
            banks.detach()
    assert last["sums"] < first["sums"] - 0.05
    assert not base.model.training


def test_each_of_a_fleet_is_measured_as_if_it_were_alone(tmp_path):
    still = LM.model_copy(update={"dropout": 0.0, "max_steps": None, "num_train_epochs": 2})  # lessons of two lengths
    together = Run(tmp_path / "fleet")
    experts = fleet(tiny_base(), GROUPS, together, still, validation=SETS)
    for expert in experts:
        alone = Run(tmp_path / expert.name)
        train(tiny_base(), GROUPS[expert.name], expert.name, alone, still, validation=SETS)
        assert times(together, expert.name) == times(alone, expert.name)
        mine = [row for row in seen(together) if row["expert"] == expert.name]
        for one, other in zip(mine, seen(alone), strict=True):
            assert one["validation_loss"] == pytest.approx(other["validation_loss"], rel=1e-4)
            assert one["tokens"] == other["tokens"]
        end = expert.card["metrics"]
        assert (
            end["tokens"] == mine[-1]["tokens"]
            and mine[-1]["step"] == end["steps"] == steps_of(together, expert.name)[-1]
        )
    assert len({e.card["metrics"]["steps"] for e in experts}) == 2


@pytest.mark.parametrize("way", ["train", "fleet"])
@pytest.mark.parametrize("die_at", [1, 3, 6])  # before the first checkpoint, after one, at a measurement
def test_a_killed_training_measures_everything_once(tmp_path, way, die_at, monkeypatch):
    run, log = Run(tmp_path / "run"), Run.log

    def learn(into):
        if way == "train":
            train(tiny_base(), TRAIN, "a", into, LM, validation=SETS)
        else:
            fleet(tiny_base(), GROUPS, into, LM, validation=SETS)

    def die(self, *rows, **row):
        log(self, *rows, **row)
        if any(one["step"] == die_at for one in [*rows, row] if one):
            raise RuntimeError("killed")

    monkeypatch.setattr(Run, "log", die)
    with pytest.raises(RuntimeError, match="killed"):
        learn(run)
    monkeypatch.setattr(Run, "log", log)
    learn(run)
    learn(whole := Run(tmp_path / "whole"))
    moving = ("step", "expert", "loss", "validation", "validation_loss", "tokens")
    told = [
        sorted(json.dumps([row.get(k) for k in moving]) for row in files.read_jsonl(r.path / "metrics.jsonl"))
        for r in (run, whole)
    ]
    assert told[0] == told[1]


def test_the_card_counts_what_was_read(tmp_path):
    card = train(tiny_base(), TRAIN, "a", Run(tmp_path / "one"), LM).card["metrics"]
    rows = read(tiny_base(), TRAIN, LM)
    assert {key: card[key] for key in rows.counts} == rows.counts
    assert card["documents"] == 60 and card["characters"] == sum(len(e.prompt + e.target) for e in TRAIN)
    assert card["tokens"] == pytest.approx(7 * 3 * 16, abs=16) and card["tokens_per_s"] > 0
    (member,) = (e for e in fleet(tiny_base(), GROUPS, Run(tmp_path / "two"), LM) if e.name == "b")
    assert {key: member.card["metrics"][key] for key in rows.counts} == rows.counts
    assert member.card["metrics"]["tokens"] == card["tokens"]


def test_time_spent_measuring_is_not_time_spent_learning(base, tmp_path):
    job = Job(base, Run(tmp_path), LM, validation=SETS)
    took = [job.measure(step, 7, expert="a") for step in (3, 4, 7)]
    assert took[0] > 0 and took[1] == 0 and took[2] > 0 and job.eval_s == pytest.approx(sum(took))
    assert {(row["step"], row["expert"]) for row in seen(job.run)} == {(3, "a"), (7, "a")}
    assert Job(base, job.run, LM).measure(0, 7) == 0
    cards = [
        train(tiny_base(), TRAIN, "a", Run(tmp_path / str(n)), LM, validation=v).card
        for n, v in enumerate((SETS, None))
    ]
    assert cards[0]["metrics"]["validation_s"] > 0 and "validation_s" not in cards[1]["metrics"]


def test_an_empty_set_is_refused_before_anything_is_learnt(base, tmp_path):
    with pytest.raises(Invalid, match="no examples"):
        train(base, TRAIN, "a", Run(tmp_path), LM, validation=Validation({"none": []}))
    assert not (tmp_path / "metrics.jsonl").exists()
