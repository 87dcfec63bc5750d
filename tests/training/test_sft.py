"""One expert's training against what it promises: exact resume, the same step however it is cut, a pristine base."""

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.training.conftest import sums, tiny_base
from yosegi.core.expert import Expert
from yosegi.errors import Diverged, Invalid
from yosegi.run import Run
from yosegi.training import sft
from yosegi.training.settings import Settings
from yosegi.training.sft import forget, train

QUICK = Settings(max_steps=12, per_device_train_batch_size=8, learning_rate=5e-3, save_steps=5, dropout=0.1, rank=4)

CHILD = """
import os, signal, sys
from pathlib import Path
from tests.training.conftest import sums, tiny_base
from yosegi.run import Run
from yosegi.training.settings import Settings
from yosegi.training.sft import train
from safetensors.torch import save_file

folder, settings, die_at, how = sys.argv[1], Settings.model_validate_json(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
log = Run.log
def watched(self, **row):
    log(self, **row)
    if row["step"] == die_at:
        os.kill(os.getpid(), getattr(signal, how))
Run.log = watched
expert = train(tiny_base(), sums(), "sums", Run(folder), settings, task="sums")
if os.environ.get("RANK", "0") == "0":
    tensors = {f"{k}.A": f.A_RI for k, f in expert.factors.items()} | {f"{k}.B": f.B_OR for k, f in expert.factors.items()}
    save_file(tensors, Path(folder) / "out.safetensors")
"""


def child(folder: Path, settings: Settings, die_at: int = 0, how: str = "SIGKILL", launcher: tuple[str, ...] = ()):
    command = [*(launcher or (sys.executable, "-c", CHILD)), str(folder), settings.model_dump_json(), str(die_at), how]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)


def flat(expert: Expert) -> torch.Tensor:
    return torch.cat([t.flatten() for f in expert.factors.values() for t in (f.A_RI, f.B_OR)])


def losses(run: Run) -> list[float]:
    return [json.loads(line)["loss"] for line in (run.path / "metrics.jsonl").read_text().splitlines()]


def test_it_learns_and_leaves_the_base_alone(base, tmp_path):
    before = {name: tensor.clone() for name, tensor in base.model.state_dict().items()}
    grads = [p.requires_grad for p in base.model.parameters()]
    run = Run(tmp_path)
    expert = train(base, sums(), "sums", run, QUICK, task="sums")
    after = base.model.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    assert grads == [p.requires_grad for p in base.model.parameters()]
    assert losses(run)[-1] < losses(run)[0] - 0.1 and len(losses(run)) == 12
    card = expert.card
    assert card["base_hash"] == base.hash and card["task"] == ["sums"] and card["metrics"]["steps"] == 12
    assert card["metrics"]["trainable_params"] == flat(expert).numel()
    assert not list(tmp_path.rglob("*.pt")) and not list(tmp_path.rglob("*.bin")) and not list(tmp_path.rglob("*.pth"))


def test_a_seed_is_a_seed(base, tmp_path):
    first, second = (train(base, sums(), "sums", Run(tmp_path / str(i)), QUICK) for i in range(2))
    other = train(base, sums(), "sums", Run(tmp_path / "other"), QUICK.model_copy(update={"seed": 1}))
    assert torch.equal(flat(first), flat(second)) and not torch.equal(flat(first), flat(other))


@pytest.mark.slow
@pytest.mark.parametrize("die_at", [3, 5, 11])  # before, at and after a checkpoint
def test_killed_at_any_step_it_ends_the_same_to_the_bit(tmp_path, die_at):
    whole = train(tiny_base(), sums(), "sums", Run(tmp_path / "whole"), QUICK)
    killed = Run(tmp_path / "killed")
    assert child(killed.path, QUICK, die_at).returncode == -signal.SIGKILL
    resumed = train(tiny_base(), sums(), "sums", killed, QUICK)
    assert torch.equal(flat(whole), flat(resumed))
    assert losses(killed) == losses(Run(tmp_path / "whole")), "every step once, none lost, none twice"


@pytest.mark.slow
def test_ctrl_c_finishes_the_step_and_saves(tmp_path):
    whole = train(tiny_base(), sums(), "sums", Run(tmp_path / "whole"), QUICK)
    stopped = Run(tmp_path / "stopped")
    done = child(stopped.path, QUICK, 7, "SIGINT")
    assert done.returncode != 0 and "KeyboardInterrupt" in done.stderr
    state = json.loads((stopped.path / "checkpoint" / "sums" / "trainer_state.json").read_text())
    assert state["global_step"] in (7, 8)  # it was not a multiple of save_steps: the interrupt saved it
    assert torch.equal(flat(whole), flat(train(tiny_base(), sums(), "sums", stopped, QUICK)))


def test_the_checkpoint_of_another_training_is_refused(base, tmp_path):
    run = Run(tmp_path)
    train(base, sums(), "sums", run, QUICK)
    with pytest.raises(Invalid, match="rank was 4, is 8"):
        train(base, sums(), "sums", run, QUICK.model_copy(update={"rank": 8}))
    train(base, sums(), "sums", run, QUICK.model_copy(update={"rank": 8, "max_steps": 2}), resume=False)
    forget(run, "sums")
    assert not (tmp_path / "checkpoint" / "sums").exists()


def test_micro_batches_make_the_same_step(base, tmp_path):
    once = QUICK.model_copy(update={"dropout": 0.0})
    cut = once.model_copy(update={"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4})
    a, b = Run(tmp_path / "a"), Run(tmp_path / "b")
    expert, same = train(base, sums(), "sums", a, once), train(base, sums(), "sums", b, cut)
    torch.testing.assert_close(losses(a), losses(b), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(flat(expert), flat(same), rtol=1e-2, atol=1e-4)


def test_checkpointed_activations_make_the_same_expert(base, tmp_path):
    settings = QUICK.model_copy(update={"activation_checkpointing": True})
    plain = train(base, sums(), "sums", Run(tmp_path / "a"), QUICK)
    cheap = train(base, sums(), "sums", Run(tmp_path / "b"), settings)
    torch.testing.assert_close(flat(plain), flat(cheap), rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_two_processes_make_the_expert_of_one(tmp_path):
    """Losses to 1e-4 and factors to 1e-3: a sum over two processes is added in another order."""
    once = QUICK.model_copy(update={"dropout": 0.0})
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    launch = (sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2")
    launch += ("--main_process_port", "0", str(script))
    os.environ["ACCELERATE_USE_CPU"] = "1"
    try:
        half = once.model_copy(update={"per_device_train_batch_size": 4})
        done = child(tmp_path / "two", half, launcher=launch)
    finally:
        del os.environ["ACCELERATE_USE_CPU"]
    assert done.returncode == 0, done.stderr[-2000:]
    one = Run(tmp_path / "one")
    expert = train(tiny_base(), sums(), "sums", one, once, task="sums")
    torch.testing.assert_close(losses(Run(tmp_path / "two")), losses(one), rtol=1e-4, atol=1e-5)
    tensors = load_file(tmp_path / "two" / "out.safetensors")
    assert len(tensors) == 2 * len(expert.factors)
    for layer, factors in expert.factors.items():
        torch.testing.assert_close(tensors[f"{layer}.A"], factors.A_RI, rtol=1e-2, atol=1e-3)
        torch.testing.assert_close(tensors[f"{layer}.B"], factors.B_OR, rtol=1e-2, atol=1e-3)


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_state(base, tmp_path, monkeypatch):
    run = Run(tmp_path)
    find, calls = sft.registry.find, []

    def poisoned(kind, name):
        method = find(kind, name)
        if kind != "objectives":
            return method

        def objective(*arguments):
            calls.append(1)
            return method(*arguments) * (math.nan if len(calls) == 8 else 1)

        return objective

    monkeypatch.setattr(sft.registry, "find", poisoned)
    with pytest.raises(Diverged, match="'sums': the loss is nan at step 8"):
        train(base, sums(), "sums", run, QUICK)
    kept = load_file(tmp_path / "checkpoint" / "sums" / "state.safetensors")
    assert all(torch.isfinite(tensor).all() for tensor in kept.values() if tensor.is_floating_point())
    assert all(torch.isfinite(p).all() for p in base.model.parameters()), "and the base is as it was"
    monkeypatch.undo()
    resumed = train(base, sums(), "sums", run, QUICK)
    whole = train(base, sums(), "sums", Run(tmp_path / "whole"), QUICK)
    assert torch.equal(flat(resumed), flat(whole))


def test_a_moving_start_becomes_a_wider_expert_on_the_pristine_base(base, tmp_path):
    expert = train(base, sums(), "sums", Run(tmp_path), QUICK.model_copy(update={"init": "pissa", "max_steps": 3}))
    assert {f.rank for f in expert.factors.values()} == {8}
