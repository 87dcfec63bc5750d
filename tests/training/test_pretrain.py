"""The machine that pre-trains: it learns, and a training that was killed ends as if it had not been."""

import json
import os
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from yosegi.bases import Base
from yosegi.engine.rows import order
from yosegi.errors import Diverged, Invalid
from yosegi.run import Run
from yosegi.training import checkpoint
from yosegi.training.pretrain import PretrainSettings, TokenRows, matrices_and_others, pretrain
from yosegi.training.validation import mean_loss as mean_loss_of

STEPS = 12


class Tiny(nn.Module):
    """A bigram model with what makes resuming hard: tied embeddings, and dropout that draws random numbers."""

    def __init__(self, poison_at: int | None = None):
        super().__init__()
        torch.manual_seed(1)
        self.table = nn.Embedding(11, 8)
        self.block = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Dropout(0.1), nn.Linear(16, 8))
        self.head = nn.Linear(8, 11, bias=False)
        self.head.weight = self.table.weight
        self.calls, self.poison_at, self.config = 0, poison_at, SimpleNamespace(is_encoder_decoder=False)

    def get_output_embeddings(self):
        return self.head

    def get_input_embeddings(self):
        return self.table

    def forward(self, input_ids, use_cache, attention_mask=None):
        self.calls += 1
        logits = self.head(self.block(self.table(input_ids)))
        return SimpleNamespace(logits=logits * float("nan") if self.calls == self.poison_at else logits)


class Killed(Run):
    """A run whose process gets a signal when it logs a certain step."""

    kill_at, signal = 0, signal.SIGINT

    def log(self, *rows, **row):
        super().log(*rows, **row)
        row = rows[0] if rows else row
        if row["step"] == self.kill_at and "loss" in row:
            os.kill(os.getpid(), self.signal)


def rows(count: int = 10) -> torch.Tensor:
    return (torch.arange(9) + torch.arange(count)[:, None]) % 11


def train(run: Run, model: nn.Module | None = None, **settings) -> nn.Module:
    """Epochs of 10 rows in steps of 4: a step reaches from one epoch into the next."""
    model = model or Tiny()
    settings = {
        "max_steps": STEPS,
        "per_device_train_batch_size": 4,
        "learning_rate": 0.02,
        "warmup_share": 1 / 30,
        "save_steps": 5,
    } | settings
    pretrain(model, rows(), run, PretrainSettings(**settings), validation_NT=rows(3), eval_steps=4)
    return model


def mean_loss(model: nn.Module, rows_NT: torch.Tensor) -> float:
    return mean_loss_of(Base("new", "", model, None), list(TokenRows(rows_NT)), PretrainSettings())


def metrics(run: Run) -> list[dict]:
    return [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]


def assert_as_if_never_stopped(run: Run, model: nn.Module, tmp_path: Path):
    whole = Run(tmp_path / "whole")
    for one, other in zip(train(whole).parameters(), model.parameters(), strict=True):
        assert torch.equal(one, other)
    moving = ("step", "loss", "lr", "validation_loss")
    assert [[r.get(k) for k in moving] for r in metrics(run)] == [[r.get(k) for k in moving] for r in metrics(whole)]


def test_an_epoch_reads_every_row_once_and_the_next_in_another_order():
    first, second = (order(10, 20, seed=0)[n : n + 10] for n in (0, 10))
    assert sorted(first) == sorted(second) == list(range(10)) and first != second
    assert order(10, 10, seed=1)[:] != first


def test_it_learns_and_tells_every_step(tmp_path):
    run = Run(tmp_path)
    model = train(run, max_steps=60)
    assert not model.training
    assert mean_loss(model, rows()) < 0.5 < mean_loss(Tiny(), rows())
    steps = [row for row in metrics(run) if "loss" in row]
    assert [row["step"] for row in steps] == list(range(1, 61))
    assert set(steps[0]) == {"step", "stage", "expert", "loss", "lr", "grad_norm", "tokens", "tokens_per_s", "wall_s"}
    rates = [row["lr"] for row in steps]
    assert rates[:2] == [0.0, 0.01] and rates[2:25] == [0.02] * 23 and rates[-1] == pytest.approx(0.02 / 36)
    assert [row["step"] for row in metrics(run) if "validation_loss" in row] == list(range(0, 61, 4))


def test_a_step_in_pieces_is_the_step(tmp_path):
    whole, pieces = Tiny().eval(), Tiny().eval()
    for model, cut in ((whole, (4, 1)), (pieces, (1, 4))):
        model.block[2].p = 0.0  # dropout would draw other numbers
        sizes = dict(zip(("per_device_train_batch_size", "gradient_accumulation_steps"), cut, strict=True))
        train(Run(tmp_path / str(cut)), model, **sizes)
    torch.testing.assert_close(whole.state_dict(), pieces.state_dict())


@pytest.mark.parametrize("at", [3, 5, 8])
def test_ctrl_c_saves_and_resuming_ends_the_same(tmp_path, at):
    run = Killed(tmp_path / "run")
    run.kill_at = at
    with pytest.raises(KeyboardInterrupt):
        train(run)
    assert checkpoint.read(run.path / "checkpoint" / "pretrain")[1]["step"] == at
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    run.kill_at = 0
    assert_as_if_never_stopped(run, train(run), tmp_path)


def test_a_finished_training_is_not_repeated(tmp_path):
    run = Run(tmp_path)
    first = train(run)
    before = metrics(run)
    model = Tiny()
    train(run, model)
    assert model.calls == 0 and metrics(run) == before
    assert torch.equal(model.head.weight, first.head.weight) and model.head.weight is model.table.weight


def test_a_loss_that_is_not_a_number_stops_the_training_and_spares_the_checkpoint(tmp_path):
    run = Run(tmp_path)
    # Seven steps, and a batch of validation before the first step and at step 4, come before it.
    with pytest.raises(Diverged, match="loss is nan at step 8 .*last good state stays in .*checkpoint"):
        train(run, Tiny(poison_at=10))
    assert checkpoint.read(tmp_path / "checkpoint" / "pretrain")[1]["step"] == 5
    assert_as_if_never_stopped(run, train(run), tmp_path)


def test_another_training_does_not_resume_this_one(tmp_path):
    train(Run(tmp_path))
    with pytest.raises(Invalid, match="learning_rate was 0.02, is 0.01"):
        train(Run(tmp_path), learning_rate=0.01)


def test_only_the_matrices_of_the_blocks_get_muon():
    muon, adamw = matrices_and_others(Tiny())
    assert {p.shape for p in muon.values()} == {(16, 8), (8, 16)}
    assert {p.shape for p in adamw.values()} == {(11, 8), (16,), (8,)}
