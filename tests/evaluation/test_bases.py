"""Several bases: one at a time, nothing twice, and one that fails does not stop the rest."""

import gc
import json
import shutil
import weakref

import pytest

from yosegi import files
from yosegi.bases import LoadSettings
from yosegi.errors import Invalid
from yosegi.evaluation import bases
from yosegi.evaluation.bases import against_best, evaluate_bases, ranking, size
from yosegi.evaluation.statistics import compare
from yosegi.reporting.read import read
from yosegi.run import Run
from yosegi.tasks import load


@pytest.fixture
def two(nano, tmp_path):
    """`nano`, and a folder with the same base, its last layer forgotten."""
    folder = tmp_path / "worse"
    shutil.copytree(bases.locate("nano"), folder)
    import safetensors.torch

    weights = safetensors.torch.load_file(folder / "model.safetensors")
    weights = {key: value * 0 if "layers.3" in key and "norm" not in key else value for key, value in weights.items()}
    safetensors.torch.save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return ["nano", str(folder)]


@pytest.fixture
def loaded(monkeypatch):
    """The bases that were loaded, each held weakly: (name, is it still there)."""
    seen, load_base = [], bases.load

    def watch(name, *arguments, **named):
        gc.collect()
        alive = [model for _, model in seen if model() is not None]
        assert not alive, "one is in memory at a time"
        base = load_base(name, *arguments, **named)
        seen.append((name, weakref.ref(base.model)))
        return base

    monkeypatch.setattr(bases, "load", watch)
    return seen


def test_rows_are_sorted_and_compared_with_the_best(two, loaded, tmp_path):
    run = Run(tmp_path / "r")
    asked = [load("skills/copy"), load("skills/reverse")]
    found = evaluate_bases(two[::-1], asked, run, limit=12, seed=2)
    assert [name for name, _ in loaded] == two[::-1] and not found.failed
    assert ranking(found.rows) == two and [r["model"] for r in found.rows] == [two[0]] * 4 + [two[1]] * 4
    assert len({row["base_hash"] for row in found.rows}) == 2 and {row["seed"] for row in found.rows} == {2}
    (best, none), (other, pair) = against_best(found.rows, run)["skills/copy"]
    assert none is None and (best["model"], other["model"]) == tuple(two)
    scores = [[item["score"] for item in files.read_jsonl(run.path / row["items"])] for row in (other, best)]
    assert pair == compare(*scores)
    told = files.read_json(run.path / "findings.json")
    assert told["findings"][0]["heading"] == "skills/copy: nano is first of 2"
    assert read([run.path]).bases == {}, "none of them is the reference"


def test_bases_are_loaded_as_asked_and_their_templates_are_said(two, loaded, tmp_path):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(two[1])
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}<unk>{% endfor %}"
    tokenizer.save_pretrained(two[1])
    run, asked, lines = Run(tmp_path / "r"), [load("skills/copy")], []
    found = evaluate_bases(two, asked, run, limit=4, tell=lines.append)
    assert {row["model"] for row in found.rows if "chat_template" in row} == {two[1]}
    assert lines == [
        f"Asked in their chat templates: {two[1]}; in plain prompts: {two[0]}. --chat-template none asks all plainly."
    ]
    assert len(loaded) == 2 and not found.failed
    evaluate_bases(two, asked, run, limit=4, tell=lines.append)
    assert len(loaded) == 2 and lines[0] == lines[1], "nothing is loaded again to see that it is measured"
    plain = LoadSettings(chat_template="none", dtype="bf16")
    found = evaluate_bases(two, asked, run, limit=4, loading=plain, tell=lines.append)
    assert len(loaded) == 4 and len(lines) == 2 and {row["dtype"] for row in found.rows} == {"bf16"}
    evaluate_bases(two, asked, run, limit=4, loading=plain)
    assert len(loaded) == 4


def test_what_is_measured_is_not_measured_again_nor_loaded(two, loaded, tmp_path):
    run, asked = Run(tmp_path / "r"), [load("skills/copy")]
    first = evaluate_bases(two[:1], asked, run, limit=4)
    both = evaluate_bases(two, asked, run, limit=4)
    assert [name for name, _ in loaded] == two
    assert [row for row in both.rows if row["model"] == "nano"] == json.loads(json.dumps(first.rows))
    assert len(run.results()) == 4
    evaluate_bases(two[:1], asked, run, limit=5)
    assert [name for name, _ in loaded] == [*two, "nano"], "other questions"
    evaluate_bases(two[:1], asked, run, limit=5, seed=1)
    evaluate_bases(two[:1], [*asked, load("skills/add")], run, limit=5, seed=1)
    assert len(loaded) == 5 and len(run.results()) == 10, "the task that was known is only read"


def test_one_that_fails_is_said_and_the_rest_go_on(two, tmp_path):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text('{"model_type": "llama"}')
    said = []
    names = ["nobody", str(tmp_path / "broken"), "nano"]
    found = evaluate_bases(names, [load("skills/copy")], Run(tmp_path / "r"), limit=4, tell=said.append)
    assert list(found.failed) == names[:2] and [row["model"] for row in found.rows] == ["nano", "nano"]
    assert len(said) == 2 and "nobody" in said[0] and "cannot be loaded" in said[1] and all("\n" not in s for s in said)
    told = files.read_json(tmp_path / "r" / "findings.json")["findings"]
    assert told[-1]["heading"] == "Not measured: 2" and len(told[-1]["text"]) == 2


def test_one_that_does_not_fit_is_not_loaded(two, loaded, tmp_path, monkeypatch):
    weights = size("nano")
    monkeypatch.setattr(bases, "free_memory", lambda device: weights + bases.SPARE)
    found = evaluate_bases(["nano"], [load("skills/copy")], Run(tmp_path / "r"), limit=2)
    assert loaded == [] and "GiB of memory" in found.failed["nano"] and found.rows == []
    monkeypatch.setattr(bases, "free_memory", lambda device: 2 * weights + bases.SPARE)
    assert not evaluate_bases(["nano"], [load("skills/copy")], Run(tmp_path / "r"), limit=2).failed


def test_the_size_is_that_of_the_parameters(nano, tmp_path):
    assert size("nano") == 4 * sum(p.numel() for p in nano.model.parameters())
    assert size(str(tmp_path)) is None


def test_twice_the_same_or_no_questions_is_refused(tmp_path):
    with pytest.raises(Invalid, match="'nano' is named twice"):
        evaluate_bases(["nano", "nano"], [load("skills/copy")], Run(tmp_path))
    with pytest.raises(Invalid, match="no test examples"):
        evaluate_bases(["nano"], [load("skills/copy")], Run(tmp_path), limit=0)


@pytest.mark.data
def test_real_terms_on_nano(tmp_path):
    names = ["nano"]
    found = evaluate_bases(names, [load("terms/ja_railway_law/rank")], Run(tmp_path / "r"), limit=4)
    own = [row for row in found.rows if row["metric"] == "logp_mrr"]
    assert len(own) == len(names) and not found.failed
    for row in own:
        assert row["n"] == 4 and round(row["chance"], 3) == 0.340 and 0.125 <= row["value"] <= 1
