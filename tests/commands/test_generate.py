"""Ask a model from the terminal."""

import builtins
import json

import pytest
import torch

from yosegi.bases import load
from yosegi.core.expert import Expert, Factors
from yosegi.inits import fresh
from yosegi.library.store import Library


@pytest.fixture
def library(tmp_path):
    """Two random experts beside nano."""
    base = load("nano", device="cpu")
    folder = Library(tmp_path / "lib", base.hash, base.name)
    torch.manual_seed(0)
    for name, rank in (("adder", 2), ("turner", 4)):
        expert = fresh(base.model, name, rank=rank, alpha=rank, task=f"skills/{name}")
        factors = {k: Factors(f.A_RI, torch.randn_like(f.B_OR) * 0.1, f.scale) for k, f in expert.factors.items()}
        folder.add(Expert(name, factors, {"task": [f"skills/{name}"], "base_hash": base.hash}))
    return folder.path


def test_one_answer_is_written_out(yosegi):
    code, out, err = yosegi("generate", "12+30=", "--max-new-tokens", 4)
    assert code == 0 and out.strip() and not err


def test_several_arms_side_by_side_answer_as_each_does_alone(yosegi, library):
    words = ["generate", "3+4=", "5+1=", "--library", library, "--max-new-tokens", 6, "--json"]
    rows = json.loads(yosegi(*words, "--arm", "base", "--arm", "adder", "--arm", "arrow")[1])
    assert [row["arm"] for row in rows] == ["base", "adder", "arrow"] * 2 and rows[0]["prompt"] == "3+4="
    for arm in ("base", "adder", "arrow"):
        assert json.loads(yosegi(*words, "--arm", arm)[1]) == [row for row in rows if row["arm"] == arm]
    out = yosegi(*words[:-1], "--arm", "base", "--arm", "adder")[1]
    assert "> 3+4=" in out and "[adder]" in out


def test_samples_are_seeded(yosegi):
    words = ["generate", "xyzzy", "--n", 3, "--temperature", 4, "--max-new-tokens", 4, "--json"]
    first = json.loads(yosegi(*words)[1])
    assert len(first) == 3 and json.loads(yosegi(*words)[1]) == first
    assert json.loads(yosegi(*words, "--seed", 1)[1]) != first


def test_what_cannot_be_is_one_line(refused, tmp_path):
    assert "the same" in refused("generate", "a", "--n", 2)
    assert "library" in refused("generate", "a", "--arm", "arrow")
    assert "no file" in refused("generate", "--file", tmp_path / "no.jsonl").lower()
    assert "Did you mean 'base'?" in refused("generate", "a", "--arm", "bsae")
    assert "--temperature" in refused("generate", "a", "--temperature", -1)


def test_a_conversation_switches_arms(yosegi, library, monkeypatch):
    lines = iter(["12+30=", "/arm adder", "12+30=", "/arm nobody", "/arms", "/new", "/help", "/what", "/quit"])
    monkeypatch.setattr(builtins, "input", lambda _: next(lines))
    code, out, _ = yosegi("chat", "--base", "nano", "--library", library, "--max-new-tokens", 4)
    assert code == 0 and "adder answers from here on." in out
    assert "No arm is called 'nobody'." in out
    assert "base, adder, turner" in out and "/system" in out and "There is no command /what" in out


def test_a_conversation_ends_with_the_input(yosegi, monkeypatch):
    def closed(_):
        raise EOFError

    monkeypatch.setattr(builtins, "input", closed)
    assert yosegi("chat", "--base", "nano")[0] == 0
