"""`yosegi label`: by rule, at random, by endpoints that misbehave; what was paid for is never asked or written over again."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from yosegi import files
from yosegi.partitions import by_system

ROOT = Path(__file__).parents[2]
SKILLS = ("label", "--task", "skills/chain", "--task", "skills/add", "--limit", 10, "--out", "labels")


def test_by_structure_when_no_teacher_is_given(yosegi, tmp_path):
    code, out, err = yosegi(*SKILLS)
    assert code == 0 and err == "" and "no teacher was given" in out and "system1  10        50.0%" in out
    result = by_system.read(tmp_path / "labels")
    assert {name: len(rows) for name, rows in result.groups.items()} == {"system1": 10, "system2": 10}
    assert result.tasks == {"system1": ("skills/add",), "system2": ("skills/chain",)}
    code, out, err = yosegi(*SKILLS, "--json")
    assert code == 0 and err == "" and json.loads(out)["systems"]["system2"]["examples"] == 10


def test_by_lot_and_with_other_systems(yosegi, tmp_path):
    code, out, _ = yosegi(*SKILLS, "--teacher", "random", "--shares", "1,3", "--seed", 5, "--json")
    assert code == 0 and [s["examples"] for s in json.loads(out)["systems"].values()] == [5, 15]
    ours = ("--system", "recall=known by heart", "--system", "reckon = a = b", "--system", "plan=a plan first")
    code, out, _ = yosegi(*SKILLS[:-1], "own", *ours, "--steps", "1,4", "--json")
    assert code == 0
    summary = json.loads(out)
    assert summary["systems"]["reckon"] == {"about": "a = b", "examples": 10}
    assert list(by_system.read(tmp_path / "own").groups) == ["recall", "reckon"]


def judge(number, body):
    if number in (1, 4):
        return {"status": 429, "headers": {"Retry-After": "0"}}
    return json.dumps({"system": 1 + ("print(" in body["messages"][1]["content"]), "because": "seen"})


def test_by_endpoints(yosegi, served, tmp_path, monkeypatch):
    monkeypatch.setenv("JUDGE_KEY", "sk-of-nobody-else")
    served.behave = judge
    three = [w for m in "abc" for w in ("--teacher", f"{served.url}#{m}?key=JUDGE_KEY&price_in=1&price_out=10")]
    ask = (*SKILLS, *three, "--target-model", "nano, 8M", "--backoff", "0.01", "--json")
    code, out, err = yosegi(*ask)
    assert code == 0, err
    summary = json.loads(out)
    a, spent = summary["teachers"][f"{served.url}#a"], summary["spent"][f"{served.url}#a"]
    assert (spent["requests"], spent["retries"], a["tokens_in"], a["cost"]) == (22, 2, 2000, 0.004)
    assert 0 < spent["seconds"] < 60
    assert summary["kappa"] == 1.0 and summary["decided"]["unanimous"] == 20
    assert "nano, 8M" in served.bodies[0]["messages"][0]["content"]
    result = by_system.read(tmp_path / "labels")
    assert result.tasks == {"system1": ("skills/add",), "system2": ("skills/chain",)}
    assert {row["votes"][f"{served.url}#b"]["rationale"] for row in result.evidence["rows"]} == {"seen"}
    asked = len(served.bodies)
    assert yosegi(*ask)[0] == 0 and len(served.bodies) == asked, "nothing is asked twice"
    code, out, _ = yosegi(*(14 if word == 10 else word for word in ask))
    assert code == 0 and len(served.bodies) == asked + 3 * 8, "a pilot grows"
    assert "sk-of-nobody-else" not in "".join(p.read_text() for p in tmp_path.rglob("*") if p.is_file())
    code, out, _ = yosegi(*ask[:-1])
    assert code == 0 and "Fleiss' kappa 1.000 over 20 complete votes" in out


def test_bad_input_is_one_line(refused, served, tmp_path):
    url = f"{served.url}#m"
    for words, says in [
        (("--teacher", "structur"), "Did you mean 'structure'"),
        (("--teacher", url), "--target-model"),
        (("--teacher", url, "--no-roleplay", "--target-model", "x"), "choose one"),
        (("--teacher", "http://h/v1", "--no-roleplay"), "lacks a model"),
        (("--teacher", f"{url}?key=NOT_SET_ANYWHERE", "--no-roleplay"), "NOT_SET_ANYWHERE is not set"),
        (("--teacher", "structure", "--teacher", "structure"), "given twice"),
        (("--teacher", "local/nanoo", "--no-roleplay"), "Did you mean 'nano'"),
        (("--shares", "1,2"), "'random', which is not asked"),
        (("--teacher", "random", "--shares", "1,two"), "shares"),
        (("--teacher", "random", "--steps", "1"), "'structure', which is not asked"),
        (("--steps", "1,2"), "thresholds of steps"),
        (("--steps", "3,1", "--systems", "3"), "thresholds rise"),
        (("--systems", "1"), "systems: Input should be"),
        (("--system", "a=b"), "at least twice"),
        (("--system", "a", "--system", "b"), "NAME=DESCRIPTION"),
        (("--system", "../a=b", "--system", "b=c"), "../a"),
        (("--split", "tset"), "tset"),
    ]:
        assert says in refused("label", "--task", "skills/add", "--out", "labels", *words), words
        assert not list(tmp_path.iterdir()), words
    assert served.bodies == []
    assert "nosuch" in refused("label", "--task", "nosuch")


def test_an_endpoint_that_refuses_or_is_down_is_one_line(refused, served, tmp_path):
    ask = (*SKILLS, "--teacher", f"{served.url}#m", "--no-roleplay", "--attempts", 2, "--backoff", "0.01")
    served.behave = lambda n, body: {"status": 404, "body": b'{"error": {"message": "no model m"}}'}
    assert "404 Not Found: no model m." in refused(*ask)
    served.behave = lambda n, body: {"status": 500}
    assert "does not answer (2 attempts each" in refused(*ask)
    assert not (tmp_path / "labels").exists()


def test_other_labels_are_not_written_over(yosegi, refused, tmp_path):
    assert yosegi(*SKILLS)[0] == 0
    before = (tmp_path / "labels" / "votes.jsonl").read_bytes()
    assert "holds other labels (teachers differ)" in refused(*SKILLS, "--teacher", "random")
    assert "holds other labels (split differ)" in refused(*SKILLS, "--split", "test")
    assert (tmp_path / "labels" / "votes.jsonl").read_bytes() == before


def test_a_local_model_votes(yosegi, tmp_path):
    """`nano` cannot judge: what it babbles is unparsable, and everything goes to the slowest system, counted."""
    ask = (
        "label",
        "--task",
        "skills/add",
        "--limit",
        3,
        "--out",
        "labels",
        "--no-roleplay",
        "--max-tokens",
        8,
        "--json",
    )
    code, out, err = yosegi(*ask, "--teacher", "local/nano")
    assert code == 0, err
    summary = json.loads(out)
    assert summary["spent"]["local/nano"]["requests"] == 3
    assert summary["teachers"]["local/nano"]["unparsable"] == summary["decided"]["nobody"] == 3
    assert summary["systems"]["system2"]["examples"] == 3
    assert len(files.read_jsonl(tmp_path / "labels" / "answers.jsonl")) == 3
    code, out, _ = yosegi(*ask, "--teacher", "local/nano")
    assert json.loads(out)["spent"]["local/nano"]["requests"] == 0


def test_ctrl_c_says_how_to_go_on_and_the_same_command_does(served, tmp_path):
    served.behave = lambda n, body: '{"system": 1}' if n < 5 else {"delay": 60}
    words = [*map(str, SKILLS), "--teacher", f"{served.url}#m", "--no-roleplay", "--concurrency", "2"]
    command = [sys.executable, "-m", "yosegi", *words]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    answers, limit = tmp_path / "labels" / "answers.jsonl", time.monotonic() + 60
    while not (answers.exists() and answers.read_bytes().count(b"\n") == 5 and len(served.bodies) >= 7):
        assert time.monotonic() < limit and process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130 and err.strip().splitlines()[-1].startswith("yosegi: Interrupted."), err
    assert "Traceback" not in err and not (tmp_path / "labels" / "votes.jsonl").exists()
    before, served.behave = len(served.bodies), lambda n, body: '{"system": 2}'
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(served.bodies) - before == 15
    result = by_system.read(tmp_path / "labels")
    assert {name: len(rows) for name, rows in result.groups.items()} == {"system1": 5, "system2": 15}


@pytest.mark.data
def test_real(yosegi, tmp_path):
    code, out, _ = yosegi(
        "label", "--task", "gsm8k", "--task", "mgsm_ja", "--teacher", "structure", "--out", "g", "--json"
    )
    assert code == 0
    shares = [s["examples"] for s in json.loads(out)["systems"].values()]
    assert sum(shares) > 10_000 and min(shares) > 4000
    assert sum(map(len, by_system.read(tmp_path / "g").groups.values())) == sum(shares)
