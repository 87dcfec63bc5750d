"""docs/how-to/serve.md: its Python runs against a server, and its commands run, up to a GGUF that transformers reads."""

import json
import re
import shlex
from pathlib import Path

import torch
from typer.main import get_command
from typer.testing import CliRunner

from tests.exporting.conftest import tiny  # noqa: F401
from tests.serve.conftest import expert
from yosegi.bases import load
from yosegi.commands import app
from yosegi.engine.spec import parse_arm
from yosegi.library.store import Library

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "serve.md").read_text(encoding="utf-8")
LINES = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
COMMANDS = {words[1]: words[2:] for line in LINES if (words := shlex.split(line))[0] == "yosegi"}


def test_its_python_runs(library, serving, capsys):
    (snippet,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    code = snippet.replace("http://127.0.0.1:8000", serving(library).url)
    assert code != snippet
    exec(compile(code, "serve.md", "exec"), {})
    shown = capsys.readouterr().out
    assert "['nano', 'adder', 'copier', 'turner']" in shown and "'weights'" in shown


def test_its_flags_are_flags():
    known = {name for parameter in get_command(app()).commands["serve"].params for name in parameter.opts}
    shown = re.findall(r"`(--[\w-]+)", PAGE)
    assert len(shown) > 10 and set(shown) - {"--model"} <= known, set(shown) - known


def test_its_commands_lead_to_a_gguf(tiny, tmp_path, monkeypatch):  # noqa: F811
    """smollm2 and what its demo leaves are a tiny Llama and random experts of the same names; the demo has tests of its own."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from yosegi.serve import run

    made, services = tiny(), []
    made.model.save_pretrained(tmp_path / "smollm2")
    made.tokenizer.save_pretrained(tmp_path / "smollm2")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("YOSEGI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(run, "serve", services.append)
    base = load("./smollm2", "fp32", device="cpu")
    library = Library("runs/demo-smollm2/library", base.hash, str(tmp_path / "smollm2"))
    for name in ("arc_easy", "boolq"):
        library.add(expert(base, name, size=0.02))

    assert list(COMMANDS) == ["demo", "serve", "export"] and COMMANDS["demo"] == ["--base", "smollm2"]
    for verb in ("serve", "export"):
        words = [word.replace("smollm2", "./smollm2") if word == "smollm2" else word for word in COMMANDS[verb]]
        result = CliRunner().invoke(app(), [verb, *words], catch_exceptions=False)
        assert result.exit_code == 0, result.output
    (service,) = services
    assert service.name == "smollm2" and service.shelf.path == library.path
    service.shelf.look()
    assert [row["id"] for row in service.models()] == ["smollm2", "arc_easy", "boolq"]

    spec, out, *_ = COMMANDS["export"]
    about = json.loads((tmp_path / out / "yosegi.json").read_text())
    texts = ["the capital of France is", "12 + 30 ="]
    words = AutoTokenizer.from_pretrained(out, gguf_file=about["file"])
    read = AutoModelForCausalLM.from_pretrained(out, gguf_file=about["file"], dtype=torch.float32)
    assert words.chat_template == made.tokenizer.chat_template
    with parse_arm(spec, library).attached(base), torch.no_grad():
        for text in texts:
            ids = words(text, return_tensors="pt").input_ids
            assert ids.tolist() == [made.tokenizer(text).input_ids]
            assert torch.allclose(read(ids).logits, base.model(ids).logits, atol=0.05)
    modelfile = (tmp_path / out / "Modelfile").read_text()
    (source,) = re.findall(r"^FROM (.+)$", modelfile, re.MULTILINE)
    assert (tmp_path / out / source).name == about["file"] and (tmp_path / out / source).is_file()
    assert f"ollama create both -f {out}/Modelfile" in LINES and 'TEMPLATE """' in modelfile
