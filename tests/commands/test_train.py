"""`yosegi train` and `yosegi.train`: one call, and a file that repeats it."""

import json
import shlex

import yaml

import yosegi as package
from yosegi import files
from yosegi.tasks import Example
from yosegi.training.build import short
from yosegi.training.reinforce import reinforce
from yosegi.training.train import train

TRAIN = ("train", "--task", "skills/sort", "--library", "shelf", "--run", "r", "--max-steps", 2, "--limit", 20)


def test_a_run_writes_the_file_that_repeats_it(yosegi, refused, tmp_path):
    words = ("--rank", 3, "--method", "pissa{power_steps=2}", "--lr-scheduler-type", "polynomial", "--lr-scheduler-kwargs", "{power: 2.0}")  # fmt: skip
    assert yosegi(*TRAIN, *words, "--targets", "q_proj,v_proj")[0] == 0
    config = yaml.safe_load((tmp_path / "r" / "run.yaml").read_text())
    assert config["task"] == ["skills/sort"] and config["method"] == "pissa{power_steps=2}" and config["rank"] == 3
    assert config["targets"] == ["q_proj", "v_proj"] and config["lr_scheduler_kwargs"] == {"power": 2.0}
    code, out, err = yosegi("train", "--config", "r/run.yaml")
    assert code == 0 and "sort: already trained" in out, err
    assert len(files.read_jsonl(tmp_path / "r" / "metrics.jsonl")) == 2, "it is there already"
    assert yosegi("train", "--config", "r/run.yaml", "--library", "again", "--run", "r2")[0] == 0
    hashes = [files.read_json(tmp_path / name / "sort" / "expert.json")["sha256"] for name in ("shelf", "again")]
    assert hashes[0] == hashes[1], "the same expert"
    assert "'--config'" in refused("train", "--config") and "Name a task" in refused("train")
    (tmp_path / "c.yaml").write_text("task: [skills/sort]\nrnak: 8\n")
    assert "did you mean 'rank'" in refused("train", "--config", "c.yaml", "--library", "new")


def test_from_python(tmp_path, monkeypatch):
    assert (package.train, package.reinforce) == (train, reinforce)
    assert [short(name) for name in ("skills/sort", "jsonl/a/b.jsonl", "law.txt")] == ["sort", "b", "law"]
    monkeypatch.chdir(tmp_path)
    rows = [Example(str(n), f"copy {n}:", f" {n}") for n in range(9)]
    (expert,) = package.train({"mine": rows}, library=tmp_path / "l", rank=2, max_steps=1, run=tmp_path / "r")
    assert expert.name == "mine" and expert.tasks == ("mine",) and expert.rank == 2
    base = package.load_base("nano")
    first, second = package.train(["skills/sort", "skills/succ"], base, tmp_path / "l", max_steps=1, limit=9)
    assert (first.name, second.name) == ("sort", "succ") and not (tmp_path / "r" / "run.yaml").exists()
    bank = package.train(
        ["skills/sort", "skills/succ"], base, tmp_path / "l", build="poly{experts=2}", max_steps=1, limit=9
    )
    assert [e.name for e in bank] == ["poly-0", "poly-1"]
    (better,) = package.reinforce("skills/sort", "sort", base, tmp_path / "l", max_steps=1, num_generations=2, limit=4)
    assert better.name == "sort-rl" and better.card["parents"] == ["sort"]
    assert json.loads((tmp_path / "l" / "sort-rl" / "expert.json").read_text())["training"]["num_generations"] == 2


def test_an_interrupted_training_is_not_resumed_where_that_is_not_wanted(yosegi, tmp_path, monkeypatch):
    from yosegi.run import Run

    log = Run.log

    def press(self, *rows, **row):
        log(self, *rows, **row)
        if rows and rows[0]["step"] == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(Run, "log", press)
    assert yosegi(*TRAIN, "--save-steps", 1)[0] == 130
    monkeypatch.setattr(Run, "log", log)
    assert yosegi(*TRAIN, "--save-steps", 1, "--no-resume", "--seed", 3)[0] == 0


def test_what_was_trained_before_is_said_and_the_next_command_is_shown(yosegi):
    words = ["train", "--task", "skills/reverse", "--library", "lib", "--max-steps", 2, "--rank", 2]
    assert "reverse: rank 2, 2 steps, loss" in yosegi(*words)[1]
    out = yosegi(*words)[1]
    assert "reverse: already trained, 20" in out and "--overwrite trains it anew" in out
    assert "reverse: rank 2" in yosegi(*words, "--overwrite")[1]
    command = out.rpartition("Next: yosegi ")[2]
    assert yosegi(*shlex.split(command), "--limit", 2)[0] == 0, "it can be pasted"
