"""`yosegi doctor --plan`: a prediction in words and in JSON; what it cannot know it refuses in one line."""

import inspect
import json
import re
import tomllib
from pathlib import Path

import pytest

from yosegi.commands.doctor import EXTRAS
from yosegi.estimate.memory import Job
from yosegi.estimate.predict import DEFAULTS


def test_a_plan_for_this_machine(yosegi):
    code, out, _ = yosegi("doctor", "--plan", "--base", "nano", "--batch-size", 2, "--max-length", 64)
    assert code == 0 and "It fits." in out and "activations" in out and "measured here" in out


def test_a_plan_for_another(yosegi):
    words = "--base 13b --method loramoe --experts 8 --rank 4 --targets ffn --gpu a6000 --gpus 3 --load-in-4bit --batch-size 1"
    code, out, _ = yosegi("doctor", "--plan", *words.split(), "--tokens", 1e7, "--json")
    found = json.loads(out)
    assert code == 0 and found["fits"] == "yes" and found["machine"]["count"] == 3
    assert found["model"]["params"] == 13_015_864_320 and found["hours"]["estimate"] > 0
    memory = found["memory"]
    assert memory["peak"] <= sum(value for name, value in memory.items() if name != "peak")


def test_plain_sizes(yosegi):
    sizes = "hidden=512,inner=1376,layers=8,heads=8,vocab=32000"
    plain, named = (
        json.loads(yosegi("doctor", "--plan", "--gpu", "t4", "--base", base, "--json")[1])["memory"]
        for base in (sizes, "60m")
    )
    assert plain == named


def test_the_table(yosegi):
    code, out, _ = yosegi("doctor", "--plan", "--table", "--batch-size", 1, "--max-length", 256, "--json")
    lines = json.loads(out)
    assert code == 0 and len(lines) == 35 and lines[0]["published_weights"] == 0.12
    assert "galore-per-layer" in yosegi("doctor", "--plan", "--table")[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--base 8b", "7b"),
        ("--base hidden=4,layers=2", "are needed"),
        ("--base hidden=a,inner=1,layers=2,heads=1,vocab=3", "whole numbers"),
        ("--method lorra", "Did you mean 'lora'"),
        ("--method full --load-in-4bit", "cannot be in four bits"),
        ("--targets q_prj", "Did you mean 'q_proj'"),
        ("--gpu a600", "Did you mean 'a6000'"),
        ("--gpu t4 --gpus 0", "--gpus"),
        ("--gpu t4 --precision fp8", "fp8"),
        ("--gpu t4 --tflops -3", "greater than 0"),
        ("--base hidden=5,inner=8,layers=1,heads=10,vocab=9", "no multiple of heads=10"),
        ("--base 7b --gpu 0GB", "48GB"),
        ("--base 7b --gpu 48GB --tokens 5 --max-steps 5", "give one of them"),
    ],
)
def test_what_it_cannot_know_is_refused(refused, words, said):
    assert said in refused("doctor", "--plan", *words.split())


def test_defaults_are_those_of_a_training():
    from yosegi.optimizers.apollo import Apollo
    from yosegi.optimizers.galore import Galore
    from yosegi.training.loramoe import EXPERTS
    from yosegi.training.settings import FFN, LoraMoeSettings, Settings

    own = {
        name: inspect.signature(make).parameters["rank"].default
        for name, make in (("galore", Galore), ("apollo", Apollo))
    }
    assert {name: DEFAULTS[name]["rank"] for name in own} == own and Job.rank == Settings().rank
    bank = LoraMoeSettings()
    assert DEFAULTS["loramoe"] == {"experts": EXPERTS, "rank": bank.rank, "targets": "ffn"} and bank.targets == FFN


def test_a_base_is_fetched_beforehand(yosegi, refused, monkeypatch, tmp_path):
    from yosegi.bases import smollm2

    asked = []
    monkeypatch.setattr(smollm2, "folder", lambda fetch: asked.append(fetch) or tmp_path)
    assert yosegi("doctor", "--fetch", "smollm2")[:2] == (0, f"smollm2: {tmp_path}\n")
    assert json.loads(yosegi("doctor", "--fetch", "smollm2", "--json")[1]) == {
        "base": "smollm2",
        "folder": str(tmp_path),
    }
    assert asked == [True, True]
    assert "hf download 'nobody/nothing'" in refused("doctor", "--fetch", "nobody/nothing")


def test_the_report_fetches_nothing(yosegi, monkeypatch, tmp_path):
    monkeypatch.setenv("YOSEGI_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    out = json.loads(yosegi("doctor", "--json")[1])
    assert "yosegi doctor --fetch smollm2" in out["base smollm2"] and list(tmp_path.iterdir()) == []


def test_every_extra_is_looked_for_and_installed_by_the_name_of_the_package():
    root = Path(__file__).parents[2]
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert set(EXTRAS) == set(project["optional-dependencies"]) - {"dev"}
    pages = [*root.glob("*.md"), *root.glob("docs/**/*.md"), *root.glob("yosegi/**/*.py"), *root.glob("benchmarks/*")]
    told = [
        (page.name, name)
        for page in pages
        if page.is_file()
        for name in re.findall(
            r"'([\w-]+)\[(?:serve|eval|track|quant|dev|\{extra\})\]", page.read_text(encoding="utf-8")
        )
    ]
    assert told and {name for _, name in told} == {project["name"]}, told
