"""One expert's training against what it promises: TRL's losses, the same step however it is cut, a pristine base."""

import math
from dataclasses import replace
from math import ceil

import pytest
import torch
from safetensors.torch import load_file

from tests.training.conftest import flat, rows_of, sums, tiny_base, train
from yosegi.engine.rows import order, tokenise
from yosegi.errors import Diverged, MissingExtra
from yosegi.inits import fresh
from yosegi.library.interchange import write_peft
from yosegi.library.store import Library
from yosegi.run import Run
from yosegi.training import loop
from yosegi.training.settings import Settings

QUICK = Settings(max_steps=12, per_device_train_batch_size=8, learning_rate=5e-3, save_steps=5, dropout=0.1, rank=4)


def changed(**more):
    return QUICK.model_copy(update=more)


def losses(run: Run) -> list[float]:
    return [row["loss"] for row in rows_of(run)]


def test_it_learns_and_leaves_the_base_alone(base, tmp_path):
    before = {name: tensor.clone() for name, tensor in base.model.state_dict().items()}
    grads = [p.requires_grad for p in base.model.parameters()]
    run = Run(tmp_path)
    expert = train(base, sums(), "sums", run, QUICK, task="sums")
    after = base.model.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    assert grads == [p.requires_grad for p in base.model.parameters()] and not base.model.training
    assert losses(run)[-1] < losses(run)[0] - 0.1 and len(losses(run)) == 12
    assert expert.tasks == ("sums",) and expert.card["metrics"]["steps"] == 12
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".pt", ".bin", ".pth")]


def test_what_was_cut_is_said_and_stands_on_the_card(base, tmp_path, capsys):
    """An expert that never sees an end-of-text token learns never to stop."""
    rows = [replace(example, target="0123456789" * 4) for example in sums()[:8]]
    expert = train(base, rows, "long", Run(tmp_path / "r"), changed(max_steps=1, max_length=32))
    words = "8 of 8 rows lost their prompt and the end of their answer"
    assert capsys.readouterr().err.count(f"Warning: {words} (max_length=32).") == 1
    assert expert.card["metrics"]["cut"] == words
    Library(tmp_path / "library").add(expert)
    assert words in (tmp_path / "library" / "long" / "README.md").read_text()
    assert "cut" not in train(base, sums(), "sums", Run(tmp_path / "s"), changed(max_steps=1)).card["metrics"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        {},
        {"lr_scheduler_type": "cosine", "gradient_accumulation_steps": 2, "max_grad_norm": 0.05, "weight_decay": 0.1},
        {"lr_scheduler_type": "polynomial", "lr_scheduler_kwargs": {"power": 2.0}, "warmup_share": 0.3},
        {"optimizer": "adafactor", "lr_scheduler_type": "inverse_sqrt"},
    ],
    ids=["plain", "cosine, cut, clipped", "polynomial", "adafactor"],
)
def test_the_losses_are_those_of_trl(tmp_path, change):
    """The same rows in the same order, from the same start, under the same settings."""
    from datasets import Dataset, disable_progress_bars
    from peft import PeftModel
    from transformers import PrinterCallback
    from trl import SFTConfig, SFTTrainer

    disable_progress_bars()
    settings = changed(max_steps=8, dropout=0.0, **change)
    run, base = Run(tmp_path / "ours"), tiny_base()
    train(base, sums(), "sums", run, settings)
    write_peft(fresh(base.model, "start", rank=4, alpha=16), tmp_path / "start")
    rows = tokenise(base, sums(), 64)
    places = order(len(rows), 8 * 8 * settings.gradient_accumulation_steps, settings.seed)
    names = ("max_steps", "per_device_train_batch_size", "gradient_accumulation_steps", "learning_rate", "weight_decay")
    alike = {name: getattr(settings, name) for name in (*names, "max_grad_norm", "lr_scheduler_type")}
    optim = {"adamw": "adamw_torch"}.get(settings.optimizer, settings.optimizer)
    trainer = SFTTrainer(
        model=PeftModel.from_pretrained(base.model, tmp_path / "start", is_trainable=True),
        args=SFTConfig(
            str(tmp_path), **alike, optim=optim, lr_scheduler_kwargs=dict(settings.lr_scheduler_kwargs),
            warmup_steps=ceil(settings.warmup_share * 8), activation_checkpointing=False, bf16=False, use_cpu=True,
            dataloader_pin_memory=False, max_length=None, train_sampling_strategy="sequential", save_strategy="no",
            logging_steps=1, report_to="none", disable_tqdm=True,
        ),
        train_dataset=Dataset.from_list(rows).select(places),
        processing_class=base.tokenizer,
    )  # fmt: skip
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    theirs = [row for row in trainer.state.log_history if "loss" in row]
    ours = rows_of(run)
    assert len(ours) == len(theirs) == 8
    assert [row["loss"] for row in ours] == pytest.approx([row["loss"] for row in theirs], rel=1e-4)
    assert [row["lr"] for row in ours] == pytest.approx([row["learning_rate"] for row in theirs], rel=1e-6)
    assert [row["grad_norm"] for row in ours] == pytest.approx([row["grad_norm"] for row in theirs], rel=1e-3)


def test_a_seed_is_a_seed(base, tmp_path):
    first, second = (train(base, sums(), "sums", Run(tmp_path / str(i)), QUICK) for i in range(2))
    other = train(base, sums(), "sums", Run(tmp_path / "other"), changed(seed=1))
    assert torch.equal(flat(first), flat(second)) and not torch.equal(flat(first), flat(other))


def test_micro_batches_make_the_same_step(base, tmp_path):
    once = changed(dropout=0.0)
    cut = changed(dropout=0.0, per_device_train_batch_size=2, gradient_accumulation_steps=4)
    a, b, forwards = Run(tmp_path / "a"), Run(tmp_path / "b"), []
    expert = train(base, sums(), "sums", a, once)
    hook = base.model.register_forward_pre_hook(lambda _, __, inputs: forwards.append(len(inputs["input_ids"])), with_kwargs=True)  # fmt: skip
    same = train(base, sums(), "sums", b, cut)
    hook.remove()
    assert set(forwards) == {2}, "no more rows at once than the settings allow"
    torch.testing.assert_close(losses(a), losses(b), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(flat(expert), flat(same), rtol=1e-2, atol=1e-4)


def test_checkpointed_activations_make_the_same_expert(base, tmp_path):
    plain = train(base, sums(), "sums", Run(tmp_path / "a"), QUICK)
    cheap = train(base, sums(), "sums", Run(tmp_path / "b"), changed(activation_checkpointing=True))
    torch.testing.assert_close(flat(plain), flat(cheap), rtol=1e-4, atol=1e-6)


def test_a_checkpoint_is_not_resumed_where_that_is_not_wanted(base, tmp_path, monkeypatch):
    log, run = Run.log, Run(tmp_path)

    def die(self, *rows, **row):
        log(self, *rows, **row)
        if rows[0]["step"] == 7:
            raise RuntimeError("killed")

    monkeypatch.setattr(Run, "log", die)
    with pytest.raises(RuntimeError, match="killed"):
        train(base, sums(), "sums", run, QUICK)
    monkeypatch.undo()
    kept = []
    expert = train(base, sums(), "sums", run, changed(rank=2), resume=False, keep=kept.append)
    assert kept == [expert] and len(losses(run)) == 12 and not list((tmp_path / "checkpoint").iterdir())


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_state(base, tmp_path, monkeypatch):
    run = Run(tmp_path)
    find, calls = loop.registry.find, []

    def poisoned(kind, name):
        method = find(kind, name)
        if kind != "objectives":
            return method

        def objective(*arguments):
            calls.append(1)
            return method(*arguments) * (math.nan if len(calls) == 8 else 1)

        return objective

    monkeypatch.setattr(loop.registry, "find", poisoned)
    with pytest.raises(Diverged, match=r"'sums': the loss is nan at step 8 \(learning rate .*last good state stays.*--no-resume"):  # fmt: skip
        train(base, sums(), "sums", run, QUICK)
    kept = load_file(tmp_path / "checkpoint" / "sums" / "state.safetensors")
    assert all(torch.isfinite(tensor).all() for tensor in kept.values() if tensor.is_floating_point())
    assert all(torch.isfinite(p).all() for p in base.model.parameters()), "and the base is as it was"
    monkeypatch.undo()
    resumed = train(base, sums(), "sums", run, QUICK)
    whole = train(base, sums(), "sums", Run(tmp_path / "whole"), QUICK)
    assert torch.equal(flat(resumed), flat(whole))


def test_a_moving_start_becomes_a_wider_expert_on_the_pristine_base(base, tmp_path):
    expert = train(base, sums(), "sums", Run(tmp_path), changed(init="pissa", max_steps=3))
    assert {f.rank for f in expert.factors.values()} == {8}


def test_liger_kernels_are_asked_for_what_the_objectives_do_not_compute(base, tmp_path, monkeypatch):
    """Where they are not installed one line says so; where they are, transformers puts them in."""
    with pytest.raises(MissingExtra, match="pip install liger-kernel"):
        train(base, sums(), "sums", Run(tmp_path), changed(use_liger_kernel=True))
    calls = []
    monkeypatch.setattr("transformers.utils.is_liger_kernel_available", lambda: True)
    monkeypatch.setattr("transformers.integrations.liger.apply_liger_kernel", lambda *asked: calls.append(asked))
    train(base, sums(), "sums", Run(tmp_path), changed(use_liger_kernel=True, max_steps=1))
    assert calls == [(base.model, {"cross_entropy": False, "fused_linear_cross_entropy": False})]
