"""What README.md shows is what there is: its commands parse, its Python runs, its generated parts are in step."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import typer.main

from yosegi import registry
from yosegi.commands import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_every_command_it_shows_is_one():
    lines = [line for block in blocks("sh") for line in block.replace("\\\n", " ").splitlines()]
    words = [shlex.split(line, comments=True) for line in lines if line.startswith("yosegi ")]
    assert len(words) >= 6
    for _, *rest in words:
        command = typer.main.get_command(app())
        while hasattr(command, "commands"):
            assert rest[0] in command.commands, rest
            command = command.commands[rest.pop(0)]
        known = {name for parameter in command.params for name in parameter.opts}
        assert {word for word in rest if word.startswith("--")} <= known, rest
        methods = [rest[i + 1] for i, word in enumerate(rest) if word in ("--arm", "--router")]
        known_methods = {*registry.names("routers"), *(f"merge:{name}" for name in registry.names("merges")), "experts"}
        assert set(methods) <= known_methods, methods


def test_its_python_runs(tmp_path, monkeypatch):
    from yosegi.bases import load
    from yosegi.inits import fresh
    from yosegi.library.store import Library

    monkeypatch.chdir(tmp_path)
    base = load("nano")
    library = Library("runs/demo/library", base.hash, base.name)
    for name in ("a", "b"):
        library.add(fresh(base.model, name, rank=2, alpha=4))
    (snippet,) = blocks("python")
    exec(compile(snippet, "README.md", "exec"), {})


def test_the_two_commands_are_in_the_makefile():
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"demo", "test", "check", "bench", "docs"} <= targets
    assert "make demo" in README and "make test" in README


def test_generated_pages_are_in_step():
    done = subprocess.run([sys.executable, ROOT / "docs" / "generate.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
