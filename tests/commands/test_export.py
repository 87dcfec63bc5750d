"""`yosegi export` as a user meets it: the commands of docs/how-to/export.md, and what is refused."""

import json
import re
import shlex
from pathlib import Path

import pytest

from tests.exporting.conftest import hub, library_of, tiny  # noqa: F401 - fixtures

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "export.md").read_text(encoding="utf-8")


@pytest.fixture
def experts(tiny, library_of, tmp_path):  # noqa: F811
    """A library called experts whose base is the folder model/, with what the page names."""
    base = tiny()
    base.model.save_pretrained(tmp_path / "model")
    base.tokenizer.save_pretrained(tmp_path / "model")
    from yosegi.bases import weights_hash

    base.name, base.hash = str(tmp_path / "model"), weights_hash(tmp_path / "model")
    library_of(base).path.rename(tmp_path / "experts")
    from dataclasses import replace

    from yosegi.library.store import Library

    library = Library(tmp_path / "experts")
    for old, new in (("a", "support"), ("b", "legal")):
        library.add(replace(library[old], name=new))
    return library


def test_the_page_s_commands_run(yosegi, experts, tmp_path):
    (block,) = re.findall(r"```sh\n(yosegi export.*?)```", PAGE, re.DOTALL)
    lines = [shlex.split(line, comments=True)[1:] for line in block.splitlines()]
    assert len(lines) == 5
    (run := tmp_path / "runs" / "first").mkdir(parents=True)
    card = json.loads((tmp_path / "experts" / "support" / "expert.json").read_text())
    row = {"model": "support", "task": "a", "metric": "accuracy", "value": 0.5, "n": 4, "split": "test", "seed": 0}
    (run / "results.jsonl").write_text(json.dumps(row | {"base": card["base"], "base_hash": card["base_hash"]}) + "\n")
    for words in lines:
        code, out, err = yosegi(*words)
        assert code == 0 and out.count("\n") == 1 and "MiB" in out, err
        about = json.loads((tmp_path / words[2] / "yosegi.json").read_text())
        assert about["base_hash"] and {one["name"] for one in about["experts"]} <= {"support", "legal"}
    assert (tmp_path / "both-gguf" / "Modelfile").is_file() and "next token is the same for" in yosegi(
        "export", "base", "whole", "--to", "hf", "--base", "model", "--dtype", "bf16"
    )[1]
    code, out, _ = yosegi("export", "support", "support-peft", "--library", "experts", "--overwrite", "--json")
    assert code == 0 and json.loads(out)["vllm"] == "yes"


def test_what_is_refused_is_one_line(refused, experts, tmp_path):
    assert "yosegi serve" in refused("export", "arrow", "out", "--library", "experts")
    assert "Did you mean 'gguf'" in refused("export", "support", "out", "--library", "experts", "--to", "ggu")
    assert "Did you mean 'support'" in refused("export", "suport", "out", "--library", "experts")
    assert "--library is the folder" in refused("export", "support", "out", "--library", "nowhere")
    assert "is there already" in refused("export", "support", "model", "--library", "experts")
    assert "this is nano@" in refused(
        "export", "support", "out", "--library", "experts", "--to", "hf", "--base", "nano"
    )
    assert not (tmp_path / "out").exists()


def test_push_and_pull(yosegi, refused, experts, hub, tmp_path):  # noqa: F811
    (_, block) = re.findall(r"```sh\n(yosegi .*?)```", PAGE, re.DOTALL)
    lines = [shlex.split(line, comments=True)[1:] for line in block.splitlines()]
    assert yosegi("export", "support", "support-peft", "--library", "experts")[0] == 0
    for words in lines:
        code, out, err = yosegi(*words)
        assert (code, err.count("Traceback")) == (0, 0) and out, err
        if "--dry-run" in words:
            assert "experts/" not in out and "support/adapter_model.safetensors" in out and hub.asked == []
    assert sorted(hub.repos) == ["me/experts", "me/support", "me/support-peft"] and all(
        one["private"] for one in hub.repos.values()
    )
    assert (tmp_path / "theirs" / "legal").is_dir() and (tmp_path / "theirs" / "tone").is_dir()
    assert "legal, support already" in refused("pull", "me/experts", "theirs")
    assert "no repository me/none" in refused("pull", "me/none", "theirs")
    hub.token = "another"
    assert "does not accept the token" in refused("push", "experts", "me/experts")
