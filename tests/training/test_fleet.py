"""A fleet is its experts, each trained alone: same batches, same factors, whatever the others do."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.training.conftest import sums, tiny_base
from tests.training.test_sft import flat
from yosegi import files
from yosegi.core.expert import Expert
from yosegi.engine.rows import tokenise
from yosegi.errors import Diverged, Invalid
from yosegi.library.store import Library
from yosegi.run import Run
from yosegi.tasks import Example
from yosegi.training import fleet as fleets
from yosegi.training.fleet import fleet
from yosegi.training.settings import Settings
from yosegi.training.sft import train

QUICK = Settings(max_steps=8, per_device_train_batch_size=6, learning_rate=5e-3, save_steps=3, dropout=0, rank=4)
DATA = {"few": sums()[:7], "some": sums()[20:50], "many": sums()[40:]}

CHILD = """
import os, signal, sys
from tests.training.conftest import tiny_base
from tests.training.test_fleet import DATA, QUICK
from yosegi.library.store import Library
from yosegi.run import Run
from yosegi.tasks import Example
from yosegi.training import fleet as fleets

folder, die_at, memory = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) or None
log = Run.log
def watched(self, *rows):
    log(self, *rows)
    if any(row["step"] == die_at and row["expert"] == "some" for row in rows):
        os.kill(os.getpid(), getattr(signal, sys.argv[4]))
Run.log = watched
shelf = Library(folder + "/library")
groups = {name: rows for name, rows in DATA.items() if not shelf.path.exists() or name not in shelf}
fleets.fleet(tiny_base(), groups, Run(folder), QUICK.model_copy(update={"dropout": 0.1}), keep=shelf.add, memory=memory)
"""


def sail(folder: Path, settings: Settings = QUICK, data=DATA, **more) -> dict[str, Expert]:
    return {e.name: e for e in fleet(tiny_base(), data, Run(folder), settings, **more)}


def child(folder: Path, die_at: int = 0, memory: int = 0, how: str = "SIGKILL", launcher: tuple[str, ...] = ()):
    command = [*(launcher or (sys.executable, "-c", CHILD)), str(folder), str(die_at), str(memory), how]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)


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
    together = sail(tmp_path / "fleet", settings)
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
        for key in ("data_hash", "recipe", "init", "targets", "base_hash", "task_type"):
            assert together[name].card[key] == alone.card[key]
        assert together[name].card["metrics"]["steps"] == alone.card["metrics"]["steps"]


def test_it_does_not_matter_how_a_step_is_cut(tmp_path):
    whole, cut = sail(tmp_path / "a", tokens_per_pass=10_000), sail(tmp_path / "b", tokens_per_pass=20)
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
    parent = sail(tmp_path / "one", data={"some": DATA["some"]})["some"]
    still = sail(tmp_path / "still", QUICK.model_copy(update={"learning_rate": 1e-12}), start=parent)
    for expert in still.values():
        torch.testing.assert_close(flat(expert), flat(parent), atol=1e-6, rtol=1e-4)
        assert expert.card["parents"] == ["some"] and expert.card["init"] == parent.card["init"]
    assert (
        sail(tmp_path / "late", QUICK.model_copy(update={"init_seed": 9}), start=parent)["few"].card["init_seed"] == 0
    )
    moved = sail(tmp_path / "moved", start=parent)
    assert all((flat(e) - flat(parent)).abs().max() > 1e-3 for e in moved.values())


def test_waves_when_the_memory_is_short(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(fleets, "_measure_pass", lambda *_: 1000)
    one = sail(tmp_path / "one", data={"few": DATA["few"]})["few"]
    each = fleets.moving(one.card["metrics"]["trainable_params"])
    capsys.readouterr()
    kept = []
    waves = sail(tmp_path / "waves", memory=2 * each + 1500, keep=lambda e: kept.append(e.name))
    assert "3 experts" in (said := capsys.readouterr().err) and "2 waves of up to 2" in said
    assert kept == list(DATA) == list(waves)
    assert [e.card["metrics"]["fleet"] for e in waves.values()] == [2, 2, 1]
    for name, expert in sail(tmp_path / "fleet").items():
        torch.testing.assert_close(flat(waves[name]), flat(expert), rtol=1e-3, atol=1e-6)
    with pytest.raises(Invalid, match="One expert needs"):
        sail(tmp_path / "none", memory=each)


def test_a_pass_is_measured():
    base, settings = tiny_base(), QUICK
    start = sail.__globals__["fleets"].fresh(base.model, "start", rank=4, alpha=8)
    rows = {"a": tokenise(base, sums(), 64)}
    assert 2**20 < fleets._measure_pass(base, start, rows, settings, 50_000) < 2**31
    assert fleets._measure_pass(base, start, rows, settings, 50_000) > 2**20  # the first one's peak does not hide it


def test_a_group_without_an_answer_is_named(tmp_path):
    with pytest.raises(Invalid, match="'none' has no examples to learn from"):
        sail(tmp_path, data={**DATA, "none": []})
    mute = [Example("1", "", "", ("",))]  # an end of text, and nothing before it that could predict it
    with pytest.raises(Invalid, match="'mute' has nothing to learn"):
        sail(tmp_path, QUICK.model_copy(update={"objective": "lm", "max_length": 2}), {**DATA, "mute": mute})
    assert not (tmp_path / "metrics.jsonl").exists()


def test_a_fleet_does_not_go_on_as_one_that_began_elsewhere(tmp_path, monkeypatch):
    parent = sail(tmp_path / "parent", data={"p": DATA["few"]})["p"]
    log = Run.log

    def die(self, *rows):
        log(self, *rows)
        if rows[0]["step"] == 5:
            raise RuntimeError("killed")

    monkeypatch.setattr(Run, "log", die)
    with pytest.raises(RuntimeError, match="killed"):
        sail(tmp_path, data={"x": DATA["few"]}, start=parent)
    monkeypatch.setattr(Run, "log", log)
    with pytest.raises(Invalid, match="another training"):
        sail(tmp_path, data={"x": DATA["few"]})


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

    original = fleets.attach

    def watched(*arguments, **more):
        nonlocal context, banks_names
        banks = original(*arguments, **more)
        context, banks_names = banks.context, banks.names
        return banks

    context, banks_names = None, ()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "sft", poisoned)
        patch.setattr(fleets, "attach", watched)
        with pytest.raises(Diverged, match=r"1 of 4 experts diverged \('bad' at step 4\)"):
            fleet(base, data, Run(tmp_path / "bad"), QUICK, keep=kept.append)
    assert sorted(e.name for e in kept) == sorted(DATA)
    alone = sail(tmp_path / "good")
    for expert in kept:
        torch.testing.assert_close(flat(expert), flat(alone[expert.name]), rtol=1e-3, atol=1e-6)


def test_another_training_in_the_way(tmp_path):
    child(tmp_path, die_at=4)
    with pytest.raises(Invalid, match="is of another training: .*learning_rate was"):
        sail(tmp_path, QUICK.model_copy(update={"learning_rate": 1e-3, "dropout": 0.1}))


@pytest.mark.slow
@pytest.mark.parametrize("how", ["SIGKILL", "SIGINT"])
def test_a_killed_fleet_goes_on_to_the_same_bits(tmp_path, how):
    assert child(tmp_path / "whole").returncode == 0
    assert child(tmp_path / "cut", die_at=5, how=how).returncode != 0
    assert (tmp_path / "cut" / "checkpoint").exists() and not (tmp_path / "cut" / "library").exists()
    done = child(tmp_path / "cut")
    assert done.returncode == 0, done.stderr
    whole, cut = Library(tmp_path / "whole" / "library"), Library(tmp_path / "cut" / "library")
    assert list(whole) == list(cut) == sorted(DATA)
    assert all(torch.equal(flat(whole[name]), flat(cut[name])) for name in whole)
    steps = [(row["expert"], row["step"]) for row in files.read_jsonl(tmp_path / "cut" / "metrics.jsonl")]
    assert len(steps) == len(set(steps)) == 3 * QUICK.max_steps


@pytest.mark.slow
def test_two_processes_share_the_experts(tmp_path):
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    launch = (
        sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2",
        "--main_process_port", "0", str(script),
    )  # fmt: skip
    os.environ["ACCELERATE_USE_CPU"] = "1"
    try:
        done = child(tmp_path / "two", launcher=launch)
    finally:
        del os.environ["ACCELERATE_USE_CPU"]
    assert done.returncode == 0, done.stderr[-2000:]
    shelf = Library(tmp_path / "two" / "library")
    assert list(shelf) == sorted(DATA)
    assert {name: shelf.card(name)["metrics"]["fleet"] for name in shelf} == {"few": 2, "many": 2, "some": 1}


def test_ctrl_c_is_a_keyboard_interrupt(tmp_path, monkeypatch):
    log = Run.log

    def press(self, *rows):
        log(self, *rows)
        if any(row["step"] == 2 and row["expert"] == "many" for row in rows):
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Run, "log", press)
    with pytest.raises(KeyboardInterrupt):
        sail(tmp_path)
    assert files.read_json(tmp_path / "checkpoint" / "fleet" / "progress.json")["step"] == 2
