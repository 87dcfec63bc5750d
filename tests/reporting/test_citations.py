"""Every paper that a docstring names can be cited, and a run cites what it used."""

import re

import pytest

from yosegi import files, registry
from yosegi.errors import NoData
from yosegi.reporting.citations import DRAWERS, cite, papers


@pytest.mark.parametrize("drawer", DRAWERS)
def test_every_paper_with_a_number_is_read(drawer):
    missing = []
    for name in registry.names(drawer):
        text = " ".join(registry.about(drawer, name).split())
        named = set(re.findall(r"(?:19|20)\d\d[^()]{0,200}?arXiv:(\d{4}\.\d{4,5})", text))
        missing += [(name, number) for number in named - {paper.arxiv for paper in papers(text)}]
    assert not missing


def test_a_run_cites_what_it_used(tmp_path):
    run = tmp_path / "run"
    rows = [
        {"model": "base", "task": "gsm8k", "metric": "accuracy", "value": 0.5, "base": "smollm2"},
        {"model": "a", "task": "gsm8k", "metric": "accuracy", "value": 0.5, "router": "arrow"},
        {"model": "b", "task": "gsm8k", "metric": "accuracy", "value": 0.5, "merge": "ties"},
    ]
    card = {"name": "x", "init": "pissa", "training": {"optimizer": "galore", "mask": "everything"}}
    (run / "library" / "x").mkdir(parents=True)
    files.write_json(run / "library" / "x" / "expert.json", card)
    (run / "results.jsonl").write_text(files.lines(rows))
    text = cite(run)
    for number in ("2110.14168", "2502.02737", "2405.11157", "2306.01708", "2404.02948", "2403.03507", "2106.09685"):
        assert text.count(f"eprint = {{{number}}}") == 1, number
    assert "2410.13025" not in text, "LoRA Soups had no part in it"
    assert "author = {Meng and others}" in text and "title = {{PiSSA: Principal Singular Values" in text
    keys = re.findall(r"^@\w+\{([^,]+),", text, re.M)
    assert len(keys) == len(set(keys)) and all(re.fullmatch(r"[\w]+", key) for key in keys)
    assert text.count("{") == text.count("}")


def test_what_is_no_run_is_said(tmp_path):
    with pytest.raises(NoData):
        cite(tmp_path / "nowhere")
