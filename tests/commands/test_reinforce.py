"""`yosegi reinforce`: from a library into the same library."""

import json
import os
import time

import pytest
import torch

from yosegi.bases import load
from yosegi.library.store import Library
from yosegi.training.job import Job

QUICK = ("--max-steps", 2, "--per-device-train-batch-size", 2, "--num-generations", 3, "--learning-rate", 1e-2)


@pytest.fixture
def shelf(yosegi, tmp_path):
    for method in ("lora", "pissa"):
        words = (
            "--task",
            "skills/chain",
            "--name",
            method,
            "--method",
            method,
            "--rank",
            2,
            "--max-steps",
            2,
            "--limit",
            20,
        )
        assert yosegi("train", *words)[0] == 0
    base = load("nano")
    return Library(tmp_path / "library", base.hash, base.name)


def test_all_at_once_from_labels_to_report(yosegi, refused, shelf, tmp_path):
    assert yosegi("label", "--task", "skills/chain", "--task", "skills/succ", "--limit", 30, "--out", "labels")[0] == 0
    tasks = ("--task", "skills/chain", "--task", "skills/succ", "--labels", "labels", "--expert", "all")
    code, out, err = yosegi(
        "reinforce", *tasks, *QUICK, "--reward", "correct=2", "--reward", "integer", "--json", "--run", "r"
    )
    assert code == 0, err
    done = {row["name"]: row for row in json.loads(out)}
    assert done.keys() == {"lora-rl", "pissa-rl"} and done["lora-rl"]["parents"] == ["lora"]
    assert done["lora-rl"]["examples"] == 30  # those of System 2 alone
    rows = [json.loads(line) for line in (tmp_path / "r" / "metrics.jsonl").read_text().splitlines()]
    assert {(row["expert"], row["step"]) for row in rows} == {(name, step) for name in done for step in (1, 2)}
    assert all({"reward_correct", "reward_integer"} <= row.keys() for row in rows)
    assert shelf.card("pissa-rl")["training"]["rewards"] == {"correct": 2.0, "integer": 1.0}
    old, new = shelf["pissa"], shelf["pissa-rl"]
    for layer, f in new.factors.items():  # what PiSSA subtracts is no part of what is learnt
        assert torch.equal(f.A_RI[2:], old.factors[layer].A_RI[2:])
        assert torch.equal(f.B_OR[:, 2:], old.factors[layer].B_OR[:, 2:])
    assert "--suffix" in refused("reinforce", *tasks[:-1], "lora", *QUICK)
    assert (
        yosegi("report", "r")[0] == 0
        and "share of the time spent on sampling answers" in (tmp_path / "r" / "report.html").read_text()
    )


@pytest.mark.parametrize("kept", [1, 2])
def test_killed_after_some_were_kept_the_same_command_goes_on(yosegi, shelf, tmp_path, monkeypatch, kept):
    words = ("reinforce", "--task", "skills/chain", "--expert", "lora", "--expert", "pissa", *QUICK, "--run", "r")
    add, made = Library.add, []

    def killed(self, expert, **more):
        if len(made) == kept:
            raise KeyboardInterrupt
        made.append(expert)
        add(self, expert, **more)

    monkeypatch.setattr(Library, "add", killed)
    monkeypatch.setattr(Job, "finish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    assert yosegi(*words)[0] == 130
    monkeypatch.setattr(Library, "add", add)
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    before = {one.name: shelf.card(one.name)["sha256"] for one in made}
    code, _, err = yosegi(*words)
    assert code == 0, err
    assert {name: shelf.card(name)["sha256"] for name in before} == before and "pissa-rl" in shelf
    (left := tmp_path / "r" / "checkpoint" / ".grpo.abcd1234").mkdir()  # of a process that was killed while it deleted
    os.utime(left, (time.time() - 2,) * 2)
    code, _, err = yosegi(*words)
    assert code == 2 and "--overwrite" in err and not list((tmp_path / "r" / "checkpoint").iterdir())


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--expert", "lroa"), "lora"),
        (("--expert", "lora", "--reward", "corect"), "Did you mean 'correct'?"),
        (("--expert", "lora", "--reward", "correct=much"), "NAME=WEIGHT"),
        (("--expert", "lora", "--suffix", ""), "--overwrite"),
        (("--expert", "lora", "--labels", "nowhere"), "nowhere"),
        (("--expert", "lora", "--num-generations", 1), "--num-generations"),
    ],
)
def test_one_clear_line(refused, shelf, words, says):
    assert says in refused("reinforce", "--task", "skills/chain", *words)
    assert sorted(shelf) == ["lora", "pissa"]
