"""The small verbs."""

import json
import subprocess
import sys

import pytest

from yosegi import registry

LIGHT = """
import sys
sys.argv = ["yosegi", *{words}]
from yosegi.commands import main
try:
    main()
except SystemExit as stopped:
    heavy = [m for m in ("torch", "transformers", "trl", "peft", "numpy", "datasets") if m in sys.modules]
    print("HEAVY", heavy, file=sys.stderr)
    sys.exit(stopped.code)
"""


@pytest.mark.parametrize("words", [["--help"], ["ls"], ["show", "arrow"], ["train", "--help"], ["library", "--help"]])
def test_help_and_ls_load_nothing_heavy(words):
    done = subprocess.run([sys.executable, "-c", LIGHT.format(words=words)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "HEAVY []" in done.stderr and len(done.stdout) > 100


def test_ls_and_show_tell_everything(yosegi):
    found = json.loads(yosegi("ls", "--json")[1])
    assert found.keys() == set(registry.KINDS) and all(
        about for methods in found.values() for about in methods.values()
    )
    assert "arXiv:2405.11157" in yosegi("show", "arrow")[1] and "top_k: int=3" in yosegi("show", "routers/arrow")[1]


def test_doctor_knows_this_machine(yosegi):
    code, out, _ = yosegi("doctor", "--json")
    found = json.loads(out)
    assert code == 0 and found["version of torch"] and "nano" in found["base nano"] and "disk free" in found


@pytest.mark.slow
def test_run_a_recipe_with_fields(yosegi, tmp_path):
    code, out, _ = yosegi(
        "run", "demo", "--smoke", "--steps", 2, "--tasks", "skills/sort,skills/succ", "--run", "d", "--json"
    )
    assert code == 0
    config = json.loads((tmp_path / "d" / "config.json").read_text())
    assert (
        config["steps"] == 2
        and config["tasks"] == ["skills/sort", "skills/succ"]
        and (tmp_path / "d" / "report.html").exists()
    )
    assert (tmp_path / "d" / "env.json").exists()


def test_the_version(yosegi):
    import yosegi as package

    assert yosegi("--version") == (0, f"yosegi {package.__version__}\n", "")


def test_a_file_that_is_named_as_a_task_is_pointed_to(refused):
    assert "file/data/mine.jsonl" in refused("train", "--task", "data/mine.jsonl")
    assert refused("train", "--task", "file").endswith("as in file/NAME.")


def test_our_own_warnings_are_one_line():
    from yosegi.commands import _options
    from yosegi.commands._options import one_line

    assert one_line("look", UserWarning, _options.__file__, 3) == "Warning: look\n"
    assert one_line("look", UserWarning, "/elsewhere/yosegi/torch.py", 3).startswith(
        "/elsewhere/yosegi/torch.py:3: UserW"
    )
