"""Bad input: one clear line that says what was near, exit code 2, nothing half-written."""

import errno
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors import SafetensorError

TRAIN = ("train", "--task", "skills/sort", "--library", "shelf", "--run", "r", "--max-steps", 2, "--limit", 20)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["train", "--task", "skils/sort"], "No task is called 'skils'. Did you mean 'skills'?"),
        (["train", "--task", "skills/sotr"], "Did you mean 'sort'?"),
        (["train", "--task", "skills"], "needs a part"),
        (["train", "--task", "skills/sort", "--method", "lroa"], "Did you mean 'lora'?"),
        (["train", "--task", "skills/sort", "--base", "nanoo"], "Did you mean 'nano'?"),
        (["train", "--task", "skills/sort", "--rank", "0"], "rank"),
        (["train", "--task", "skills/sort", "--learning-rate", "fast"], "'--learning-rate'"),
        (["train", "--task", "file/nowhere.jsonl"], "nowhere.jsonl"),
        (["train", "--task", "skills/sort", "--targets", "qproj"], "Did you mean 'q_proj'?"),
        (["train", "--task", "skills/sort", "--config", "nowhere.yaml"], "nowhere.yaml"),
        (["train", "--task", "skills/sort", "--data", "nowhere"], "nowhere"),
        (["train", "--task", "skills/sort", "--objective", "lmm"], "Did you mean 'lm'?"),
        (["train", "--task", "skills/sort", "--objective", "grpo"], "No objective to train experts with"),
        (["train", "--task", "skills/sort", "--pack", "1"], "pack: Input should be greater than or equal to 2"),
        (["train", "--task", "skills/sort", "--pack", "100000"], "tokens at a time"),
        (["train", "--task", "skills/sort", "--eval-task", "skills/sotr"], "Did you mean 'sort'?"),
        (["train", "--task", "skills/sort", "--eval-task", "skills/sort", "--eval-steps", "0"], "--eval-steps"),
        (["train", "--task", "skills/sort", "--eval-task", "skills/sort", "--build", "mhr"], "--eval-task does not go with"),
        (["train", "--task", "skills/sort", "--build", "mcb"], "No build is called 'mcb'. Did you mean 'mbc'?"),
        (["train", "--task", "skills/sort", "--build", "mbc{cluster=3}"], "Did you mean 'clusters'?"),
        (["train", "--task", "skills/sort", "--build", "mbc{clusters=0}"], "clusters: Input should be greater"),
        (["train", "--task", "skills/sort", "--method", "pissa", "--init", "olora"], "begins at pissa"),
        (["train", "--task", "skills/sort", "--method", "pissa{steps=3}"], "Did you mean 'power_steps'?"),
        (["train", "--task", "skills/sort", "--lr-scheduler-type", "cosin"], "Did you mean 'cosine'?"),
        (["train"], "--task"),
        (["trian"], "trian"),
        (["ls", "routes"], "Did you mean 'routers'?"),
        (["show", "arow"], "Did you mean 'arrow'?"),
        (["eval", "--task", "skills/sort", "--arm", "arow{top_k=2}", "--library", "x"], "no library at x"),
        (["eval", "--task", "skills/sort", "--arm", "arrow"], "--library"),
        (["eval", "--task", "skills/sort", "--library", "nowhere", "--arm", "arrow"], "nowhere"),
        (["eval", "--task", "skills/sort", "--split", "tset"], "Did you mean 'test'?"),
        (["eval", "--task", "skills/sort", "--library", "nowhere", "--arm", "arrow{topk=2}"], "Did you mean 'top_k'?"),
        (["library", "ls", "nowhere"], "nowhere"),
        (["library", "show", "nowhere", "x"], "nowhere"),
        (["library", "import", "shelf", "nowhere"], "nowhere"),
        (["merge", "--library", "nowhere"], "nowhere"),
        (["report", "nowhere"], "nowhere"),
        (["run", "demmo"], "Did you mean 'demo'?"),
        (["run", "demo", "--smoke", "--stepps", "3"], "Did you mean 'steps'?"),
        (["run", "demo", "--smoke", "--steps", "many"], "steps"),
        (["run", "demo", "--smoke", "--steps"], "needs a value"),
    ],
)  # fmt: skip
def test_one_clear_line(refused, tmp_path, words, says):
    assert says in refused(*words)
    assert not (tmp_path / "shelf").exists()


def test_bad_files(refused, tmp_path):
    (tmp_path / "empty.jsonl").touch()
    assert "empty" in refused("train", "--task", "file/empty.jsonl")
    (tmp_path / "torn.jsonl").write_text('{"prompt": "a", "completion": "b"}\n{"prompt": "a", "comp\n{}\n')
    assert "line 2" in refused("train", "--task", "file/torn.jsonl")
    (tmp_path / "c.yaml").write_text("rnak: 8\n")
    assert "did you mean 'rank'" in refused(*TRAIN, "--config", "c.yaml")
    (tmp_path / "c.yaml").write_text("rank: [8\n")
    assert "not valid YAML" in refused(*TRAIN, "--config", "c.yaml")
    (tmp_path / "base").mkdir()
    assert "base" in refused(*TRAIN, "--base", "base")
    (tmp_path / "base" / "config.json").write_text('{"model_type": "llama"')
    assert "base" in refused(*TRAIN, "--base", "base")


def test_damage_in_a_library_is_named(yosegi, refused, tmp_path):
    assert yosegi(*TRAIN)[0] == 0
    card = tmp_path / "shelf" / "sort" / "expert.json"
    whole = card.read_text()
    card.write_text(whole[:50])
    assert "expert.json" in refused("library", "show", "shelf", "sort")
    with pytest.warns(UserWarning, match="'sort' is left out: .*expert.json"):
        assert yosegi("library", "ls", "shelf")[0] == 0, "one damaged expert does not hide the others"
    changed = {**json.loads(whole), "base": "other", "base_hash": "ffffffffffff"}
    card.write_text(json.dumps(changed))
    line = refused("eval", "--task", "skills/sort", "--library", "shelf", "--arm", "sort")
    assert "other@ffff" in line and "nano@" in line
    card.write_text(whole)
    weights = tmp_path / "shelf" / "sort" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    assert str(weights.relative_to(tmp_path)) in refused(
        "eval", "--task", "skills/sort", "--library", "shelf", "--arm", "sort"
    )
    assert yosegi("library", "rm", "shelf", "sort")[0] == 0, "a damaged expert can be thrown away"


def test_a_full_disk_leaves_nothing_half_written(refused, tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    assert "disk is full" in refused(*TRAIN)
    assert not list((tmp_path / "shelf").glob("*")) if (tmp_path / "shelf").exists() else True


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (
            SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
            "The disk is full",
        ),
        (SafetensorError("Error while deserializing header"), "A safetensors file cannot be read or written"),
        (OSError(errno.EDQUOT, "Disk quota exceeded", "x"), "The disk is full (x)"),
        (
            FileNotFoundError(errno.ENOENT, "No such file or directory", "a/b\x1b[31m"),
            "No such file or directory: a/b\\u001b[31m",
        ),
        (OSError(errno.ENAMETOOLONG, "File name too long", "x" * 9), "File name too long: xxxxxxxxx"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error"),
        (MemoryError(), "Memory ran out"),
        (
            RuntimeError(
                "[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"
            ),
            "Memory ran out",
        ),
        (RuntimeError("CUDA out of memory. Tried to allocate 9 GiB"), "Memory ran out"),
        (sqlite3.OperationalError("database or disk is full"), "The disk is full"),
    ],
    ids=str,
)
def test_what_the_system_refuses_is_one_line(refused, monkeypatch, error, says):
    def raises(*_, **__):
        raise error

    monkeypatch.setattr("yosegi.training.train.train", raises)
    assert says in refused(*TRAIN)


def test_an_error_of_the_program_is_not_hidden(yosegi, monkeypatch):
    def raises(*_, **__):
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr("yosegi.training.train.train", raises)
    with pytest.raises(RuntimeError, match="a fault of ours"):
        yosegi(*TRAIN)


@pytest.mark.slow
def test_ctrl_c_saves_and_the_same_command_goes_on(yosegi, tmp_path):
    command = [sys.executable, "-m", "yosegi", "train", "--task", "skills/sort", "--library", "shelf", "--run", "r"]
    command += ["--max-steps", "40", "--save-steps", "1000", "--limit", "40", "--per-device-train-batch-size", "2"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    metrics, patience = tmp_path / "r" / "metrics.jsonl", time.monotonic() + 120
    while not (metrics.exists() and len(metrics.read_text().splitlines()) >= 3):
        assert process.poll() is None and time.monotonic() < patience
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    err = process.stderr.read()
    assert "goes on from there" in err and "Traceback" not in err
    reached = json.loads((tmp_path / "r" / "checkpoint" / "sort" / "state.json").read_text())["progress"]["step"]
    assert 3 <= reached < 40
    assert yosegi(*command[3:])[0] == 0
    steps = [json.loads(line)["step"] for line in metrics.read_text().splitlines()]
    assert steps == list(range(1, 41)), "every step once"
