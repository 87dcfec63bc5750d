"""The folder of a run: rows are there as soon as they are known, and after a kill nothing is lost but half a line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from yosegi import files, run
from yosegi.errors import Invalid
from yosegi.run import Run, environment

ROOT = Path(__file__).parents[1]


def test_config_and_environment_are_written_when_there_is_a_config(tmp_path):
    Run(tmp_path / "bare")
    assert list((tmp_path / "bare").iterdir()) == []
    Run(tmp_path / "run", {"rank": 8})
    assert files.read_json(tmp_path / "run" / "config.json") == {"rank": 8}
    env = files.read_json(tmp_path / "run" / "env.json")
    assert set(env) == {"git", "python", "platform", "versions", "device", "cpus", "threads", "command"}
    assert env["versions"]["torch"] and env["threads"] == 1


def test_a_second_look_does_not_forget(tmp_path):
    Run(tmp_path, {"rank": 8}).result({"value": 1})
    again = Run(tmp_path)
    again.result({"value": 2}, {"value": 3})
    assert [row["value"] for row in again.results()] == [1, 2, 3]
    assert files.read_json(tmp_path / "config.json") == {"rank": 8}


def test_a_recipe_goes_on_with_more_of_what_may_grow_and_with_nothing_else(tmp_path):
    Run(tmp_path, {"recipe": "r", "questions": 5, "rank": 8})
    Run(tmp_path, {"recipe": "r", "questions": 9, "rank": 8}, grows=("questions",))
    assert files.read_json(tmp_path / "config.json")["questions"] == 9
    with pytest.raises(Invalid, match="rank was 8, is 4"):
        Run(tmp_path, {"recipe": "r", "questions": 9, "rank": 4}, grows=("questions",))


def test_no_results_yet(tmp_path):
    assert Run(tmp_path).results() == []


def test_rows_are_on_disk_at_once(tmp_path):
    it = Run(tmp_path)
    it.log(step=1, loss=0.5, note="寄木")
    assert (tmp_path / "metrics.jsonl").read_text(encoding="utf-8") == '{"step": 1, "loss": 0.5, "note": "寄木"}\n'


@pytest.mark.parametrize("cut", [1, 5, 12, -1])
def test_a_row_after_half_a_row(tmp_path, cut):
    """A kill in the middle of a write must not spoil the row that the resumed run writes next."""
    it, half = Run(tmp_path), json.dumps({"value": 2, "s": "寄木"}, ensure_ascii=False).encode()[:cut]
    it.result({"value": 1})
    with (tmp_path / "results.jsonl").open("ab") as file:
        file.write(half)
    Run(tmp_path).result({"value": 3})
    assert [row["value"] for row in it.results()] == [1, 3]


def test_half_a_first_row(tmp_path):
    (tmp_path / "results.jsonl").write_bytes(b'{"val')
    Run(tmp_path).result({"value": 1})
    assert (tmp_path / "results.jsonl").read_bytes() == b'{"value": 1}\n'


def steps(it):
    return [(row.get("stage"), row["step"]) for row in files.read_jsonl(it.path / "metrics.jsonl")]


def test_several_rows_at_once(tmp_path):
    it = Run(tmp_path)
    it.log({"step": 1, "expert": "a"}, {"step": 1, "expert": "b"})
    it.log()
    it.log(step=2)
    assert files.read_jsonl(tmp_path / "metrics.jsonl") == [
        {"step": 1, "expert": "a"}, {"step": 1, "expert": "b"}, {"step": 2}
    ]  # fmt: skip


def test_rewind_forgets_what_comes_after_a_step(tmp_path):
    it = Run(tmp_path)
    it.rewind(3)  # nothing there yet
    for step in (1, 2, 3, 4):
        it.log(step=step)
    it.log(note="no step at all")
    it.rewind(2)
    rows = files.read_jsonl(tmp_path / "metrics.jsonl")
    assert rows == [{"step": 1}, {"step": 2}, {"note": "no step at all"}]
    it.log(step=3)
    assert files.read_jsonl(tmp_path / "metrics.jsonl")[-1] == {"step": 3}


def test_rewind_of_one_stage_leaves_the_others(tmp_path):
    it = Run(tmp_path)
    for stage in ("sft", "grpo"):
        for step in (1, 2, 3):
            it.log(stage=stage, step=step, seed=step % 2)
    it.rewind(1, stage="grpo")
    assert steps(it) == [("sft", 1), ("sft", 2), ("sft", 3), ("grpo", 1)]
    it.rewind(0, stage="sft", seed=0)  # all of the named facts have to agree
    assert steps(it) == [("sft", 1), ("sft", 3), ("grpo", 1)]


def test_rewind_after_a_kill(tmp_path):
    it = Run(tmp_path)
    it.log(step=1)
    it.log(step=2)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "lo')
    it.rewind(1)
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 1}\n'


def test_items(tmp_path):
    it, rows = Run(tmp_path), [{"id": "1", "prediction": "寄木"}, {"id": "2", "prediction": "b"}]
    name = it.items("skills/reverse+upper", "Qwen/Qwen3-0.6B", iter(rows))
    assert name == "items/skills~reverse+upper.Qwen~Qwen3-0-6B~fb68f5a6.jsonl"
    assert files.read_jsonl(tmp_path / name) == rows
    assert it.items("skills/reverse+upper", "Qwen/Qwen3-0.6B", rows[:1]) == name
    assert len({it.items(task, "base", rows) for task in ("a/b", "a-b", "a.b", "a~b", "a/b~1")}) == 5
    assert files.read_jsonl(tmp_path / name) == rows[:1]


@pytest.mark.parametrize("nasty", ["../../etc/passwd", "/etc", "a\0b", "a\nb", ".", "C:\\x"])
def test_items_stay_in_their_folder(tmp_path, nasty):
    name = Run(tmp_path / "run").items(nasty, nasty, [{"id": "1"}])
    assert (tmp_path / "run" / "items") == (tmp_path / "run" / name).resolve().parent
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_the_environment_does_not_import_torch_for_its_version():
    program = "import sys; from yosegi.run import environment; e = environment(); assert 'torch' not in sys.modules; "
    program += "assert e['versions']['torch'] and e['threads'] is None and e['device'] == 'cpu'"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)


def test_the_commit_and_whether_it_was_changed(monkeypatch):
    message = {"rev-parse": "abc\n", "status": ""}

    def git(command, **_):
        return subprocess.CompletedProcess(command, 0, message[command[1]], "")

    monkeypatch.setattr(run.subprocess, "run", git)
    assert environment()["git"] == "abc"
    message["status"] = " M run.py\n"
    assert environment()["git"] == "abc+"


@pytest.mark.parametrize("error", [FileNotFoundError, subprocess.CalledProcessError(128, "git")])
def test_outside_a_checkout(monkeypatch, error):
    def git(*_, **__):
        raise error

    monkeypatch.setattr(run.subprocess, "run", git)
    assert environment()["git"] is None


def test_a_recipe_with_other_settings_does_not_mix_into_the_same_folder(tmp_path):
    Run(tmp_path, {"recipe": "demo", "seed": 0, "skills": ("a", "b")})
    Run(tmp_path, {"recipe": "demo", "seed": 0, "skills": ("a", "b")})
    with pytest.raises(Invalid, match="seed was 0, is 1"):
        Run(tmp_path, {"recipe": "demo", "seed": 1, "skills": ("a", "b")})
    Run(tmp_path, {"command": "eval", "seed": 1})  # an evaluation knows by itself what it has measured


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_what_is_not_finite_is_not_written_down(tmp_path, number):
    one = Run(tmp_path)
    one.result({"value": 0.5})
    for write in (one.result, one.log, lambda row: one.items("a", "b", [row])):
        with pytest.raises(Invalid, match="A number that is not finite is not written down"):
            write({"value": {"low": number}})
    assert one.results() == [{"value": 0.5}] and not (tmp_path / "items").exists()
