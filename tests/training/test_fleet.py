"""A fleet is its experts, each trained alone: same batches, same factors, whatever the others do."""

from pathlib import Path

import pytest
import torch

from tests.training.conftest import flat, sums, tiny_base, train
from yosegi import files
from yosegi.core.expert import Expert
from yosegi.errors import Diverged, Invalid
from yosegi.run import Run
from yosegi.tasks import Example
from yosegi.training import fleet as fleets
from yosegi.training import job as jobs
from yosegi.training.fleet import fleet
from yosegi.training.settings import Settings

QUICK = Settings(max_steps=8, per_device_train_batch_size=6, learning_rate=5e-3, save_steps=3, dropout=0, rank=4)
DATA = {"few": sums()[:7], "some": sums()[20:50], "many": sums()[40:]}


def train_all(folder: Path, settings: Settings = QUICK, data=DATA, **more) -> dict[str, Expert]:
    return {e.name: e for e in fleet(tiny_base(), data, Run(folder), settings, **more)}


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"max_steps": None, "num_train_epochs": 2, "weight_decay": 0.1},  # lessons of three lengths
        {"max_grad_norm": 0.05, "lr_scheduler_type": "cosine", "gradient_accumulation_steps": 2},
        {"init": "pissa"},
        {"objective": "lm"},
        {"activation_checkpointing": True},
    ],
    ids=["plain", "three lengths", "clipped", "pissa", "lm", "recomputed"],
)
def test_each_is_what_it_would_be_alone(tmp_path, change):
    settings = QUICK.model_copy(update=change)
    together = train_all(tmp_path / "fleet", settings)
    rows = files.read_jsonl(tmp_path / "fleet" / "metrics.jsonl")
    for name, examples in DATA.items():
        run = Run(tmp_path / name)
        alone = train(tiny_base(), examples, name, run, settings)
        torch.testing.assert_close(flat(together[name]), flat(alone), rtol=1e-3, atol=1e-6)
        mine = [row for row in rows if row["expert"] == name]
        theirs = files.read_jsonl(run.path / "metrics.jsonl")
        assert [row["step"] for row in mine] == [row["step"] for row in theirs]
        for key in ("loss", "lr", "grad_norm"):
            assert [row[key] for row in mine] == pytest.approx([row[key] for row in theirs], rel=1e-3, abs=1e-7), key
        for key in ("data_hash", "training", "init", "targets", "base_hash", "task_type"):
            assert together[name].card[key] == alone.card[key]
        assert together[name].card["metrics"]["steps"] == alone.card["metrics"]["steps"]


def test_it_does_not_matter_how_a_step_is_cut(tmp_path):
    whole, cut = (
        train_all(tmp_path / f"{n}", settings=QUICK.model_copy(update={"tokens_per_pass": n})) for n in (10_000, 20)
    )
    for name in DATA:
        torch.testing.assert_close(flat(whole[name]), flat(cut[name]), rtol=1e-3, atol=1e-6)


def test_the_base_is_as_it_was_and_nothing_is_left_over(tmp_path):
    base = tiny_base()
    before = {name: tensor.clone() for name, tensor in base.model.state_dict().items()}
    fleet(base, DATA, Run(tmp_path), QUICK)
    assert before.keys() == base.model.state_dict().keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in base.model.state_dict().items())
    assert not list((tmp_path / "checkpoint").iterdir()) and not base.model.training


def test_a_fleet_may_begin_as_an_expert_of_the_library(tmp_path):
    parent = train_all(tmp_path / "one", data={"some": DATA["some"]})["some"]
    still = train_all(tmp_path / "still", QUICK.model_copy(update={"learning_rate": 1e-12}), start=parent)
    for expert in still.values():
        torch.testing.assert_close(flat(expert), flat(parent), atol=1e-6, rtol=1e-4)
        assert expert.card["parents"] == ["some"] and expert.card["init"] == parent.card["init"]
    assert (
        train_all(tmp_path / "late", QUICK.model_copy(update={"init_seed": 9}), start=parent)["few"].card["init_seed"]
        == 0
    )
    moved = train_all(tmp_path / "moved", start=parent)
    assert all((flat(e) - flat(parent)).abs().max() > 1e-3 for e in moved.values())


def test_groups_when_the_memory_is_short(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(fleets, "_smallest_pass", lambda *_: 1000)
    one = train_all(tmp_path / "one", data={"few": DATA["few"]})["few"]
    each = fleets.moving(one.card["metrics"]["trainable_params"])
    capsys.readouterr()
    kept = []
    groups = train_all(tmp_path / "groups", memory=2 * each + 1500, keep=lambda e: kept.append(e.name))
    assert "3 experts" in (said := capsys.readouterr().err) and "2 groups of up to 2" in said
    assert kept == list(DATA) == list(groups)
    assert [e.card["metrics"]["fleet"] for e in groups.values()] == [2, 2, 1]
    for name, expert in train_all(tmp_path / "fleet").items():
        torch.testing.assert_close(flat(groups[name]), flat(expert), rtol=1e-3, atol=1e-6)
    with pytest.raises(Invalid, match="One expert needs"):
        train_all(tmp_path / "none", memory=each)


def test_a_group_without_an_answer_is_named(tmp_path):
    with pytest.raises(Invalid, match="'none' has no examples to learn from"):
        train_all(tmp_path, data={**DATA, "none": []})
    mute = [Example("1", "", "", ("",))]  # an end of text, and nothing before it that could predict it
    with pytest.raises(Invalid, match="'1' has no answer to learn from"):
        train_all(tmp_path, QUICK.model_copy(update={"objective": "lm", "max_length": 2}), {**DATA, "mute": mute})
    assert not (tmp_path / "metrics.jsonl").exists()


def test_a_fleet_does_not_go_on_as_one_that_began_elsewhere(tmp_path, monkeypatch):
    parent = train_all(tmp_path / "parent", data={"p": DATA["few"]})["p"]
    log = Run.log

    def die(self, *rows):
        log(self, *rows)
        if rows[0]["step"] == 5:
            raise RuntimeError("killed")

    monkeypatch.setattr(Run, "log", die)
    with pytest.raises(RuntimeError, match="killed"):
        train_all(tmp_path, data={"x": DATA["few"]}, start=parent)
    monkeypatch.setattr(Run, "log", log)
    with pytest.raises(Invalid, match="another training"):
        train_all(tmp_path, data={"x": DATA["few"]})


def test_one_that_diverges_does_not_drag_the_others_down(tmp_path):
    kept, data = [], {**DATA, "bad": [*sums()[:6]]}
    base, calls = tiny_base(), []
    from yosegi import objectives  # noqa: F401 - the objective below is the one that fleets find
    from yosegi.objectives import sft as module

    plain = module.sft

    def poisoned(model, batch, tokens):
        loss_B = plain(model, batch, tokens)
        calls.append(1)
        asked = [banks_names[i] for i in context.expert_B.tolist()]
        return torch.stack([loss * float("nan") if n == "bad" and len(calls) > 3 else loss for n, loss in zip(asked, loss_B, strict=True)])  # fmt: skip

    original = jobs.attach

    def watched(*arguments, **more):
        nonlocal context, banks_names
        banks = original(*arguments, **more)
        context, banks_names = banks.context, banks.names
        return banks

    context, banks_names = None, ()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "sft", poisoned)
        patch.setattr(jobs, "attach", watched)
        with pytest.raises(Diverged, match=r"1 of 4 experts diverged \('bad': the loss is nan at step 4"):
            fleet(base, data, Run(tmp_path / "bad"), QUICK, keep=kept.append)
    assert sorted(e.name for e in kept) == sorted(DATA)
    alone = train_all(tmp_path / "good")
    for expert in kept:
        torch.testing.assert_close(flat(expert), flat(alone[expert.name]), rtol=1e-3, atol=1e-6)
