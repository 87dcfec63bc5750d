"""docs/how-to/serve.md: its Python runs against a server, its commands have the flags that they show."""

import re
import shlex
from pathlib import Path

import typer.main

from yosegi.commands import app

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "serve.md").read_text(encoding="utf-8")


def test_its_python_runs(library, serving, capsys):
    (snippet,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    code = snippet.replace("http://127.0.0.1:8000", serving(library).url)
    assert code != snippet
    exec(compile(code, "serve.md", "exec"), {})
    shown = capsys.readouterr().out
    assert "['nano', 'adder', 'copier', 'turner']" in shown and "'weights'" in shown


def test_its_commands_are_commands():
    lines = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
    words = [shlex.split(line) for line in lines if line.startswith("yosegi ")]
    shown = [w for _, *rest in words for w in rest if w.startswith("--")] + re.findall(r"`(--[\w-]+)", PAGE)
    serve = typer.main.get_command(app()).commands["serve"]
    known = {name for parameter in serve.params for name in parameter.opts}
    assert len(shown) > 12 and set(shown) - {"--model"} <= known, set(shown) - known
