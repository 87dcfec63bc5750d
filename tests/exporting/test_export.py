"""What is exported computes what the arm computes, elsewhere; what cannot be exported is said in one line, and leaves nothing."""

import json
import shutil

import pytest
import torch

from tests.conftest import each
from yosegi import files
from yosegi.bases import load
from yosegi.core.expert import Expert, Factors
from yosegi.engine.spec import parse_arm
from yosegi.errors import Invalid, NoData, UnknownName, WrongBase
from yosegi.exporting import export
from yosegi.exporting.adapter import RANKS, uniform, vllm_fault
from yosegi.exporting.manifest import unsealed
from yosegi.exporting.merged import logits
from yosegi.exporting.readme import license_of, readme
from yosegi.library.exchange import import_expert
from yosegi.library.interchange import read_peft
from yosegi.library.store import Library


@pytest.fixture(scope="session")
def nano():
    return load("nano", device="cpu")


def answers(base, arm):
    with arm.attached(base):
        return logits(base.model, base)


def same(got, expected, tolerance=1e-4):
    return all(torch.allclose(a, b, atol=tolerance) for a, b in zip(got, expected, strict=True))


@each("spec, rank", [("a", 8), ("b", 16), ("a*.7+b*.3", 16), ("merge:svd{rank=5}(a,b)", 8)])
def test_peft_computes_what_the_arm_does(spec, rank, nano, library_of, tmp_path):
    from peft import PeftModel

    library = Library(tmp_path / "library")
    if not library.path.exists():
        library = library_of(nano)
    out = tmp_path / f"out{rank}{spec[0]}{len(spec)}"
    about = export(spec, out, library=library.path)
    expected = answers(nano, parse_arm(spec, library))
    model = PeftModel.from_pretrained(load("nano", device="cpu").model, out).eval()
    assert same(logits(model, nano), expected) and not same(expected, logits(nano.model, nano))
    config = json.loads((out / "adapter_config.json").read_text())
    assert config["r"] == rank in RANKS and not config["rank_pattern"] and not config["alpha_pattern"]
    assert (about["vllm"], about["linears"], unsealed(out)) == ("yes", len(config["target_modules"]), [])
    assert import_expert(Library(tmp_path / f"again{rank}{len(spec)}"), out).card["base_hash"] == nano.hash


def test_a_single_expert_goes_out_to_the_last_bit(nano, library_of, tmp_path):
    library = library_of(nano, (8,))
    export("a", tmp_path / "out", library=library.path)
    for layer, f in read_peft(tmp_path / "out").factors.items():
        assert torch.equal(f.B_OR, library["a"].factors[layer].B_OR) and f.scale == 0.5


def test_what_vllm_would_not_load_is_said():
    one = Expert("a", {"model.q_proj": Factors(torch.ones(513, 4), torch.ones(4, 513), 1.0)})
    assert uniform(one).rank == 513 and "rank is 513" in vllm_fault(uniform(one))
    odd = Expert("a", {"h.0.c_attn": Factors(torch.ones(2, 4), torch.ones(4, 2), 1.0)})
    assert "called c_attn" in vllm_fault(uniform(odd))
    assert vllm_fault(uniform(Expert("a", {"q_proj": Factors(torch.ones(2, 4), torch.ones(4, 2), 1.0)}))) is None


@each("family, spec, dtype, bound", [
    ("llama", "a*.7+b*.3", "fp32", 1e-4), ("qwen3", "merge:ties(a,b)", "bf16", 0.5), ("gpt2", "b", "fp32", 1e-4), ("gemma2", "base", "auto", 1e-4),
])  # fmt: skip
def test_the_merged_model_is_the_arm(family, spec, dtype, bound, tiny, library_of, tmp_path):
    shutil.rmtree(tmp_path / "library", ignore_errors=True)
    base = tiny(family, n_positions=128) if family == "gpt2" else tiny(family)
    before = {name: value.clone() for name, value in base.model.state_dict().items()}
    if dtype == "auto":  # that of the base on the disk
        base.model.save_pretrained(tmp_path / "base")
        base.tokenizer.save_pretrained(tmp_path / "base")
        base.name = str(tmp_path / "base")
    library, out = library_of(base), tmp_path / family
    about = export(spec, out, "hf", base=base, library=library.path, dtype=dtype, max_shard_size="200KB")
    assert about["logits"]["max_error"] < bound and about["logits"]["tokens"] > 20 and unsealed(out) == []
    assert len(list(out.glob("*.safetensors"))) > 1 or family == "gpt2"
    assert all(torch.equal(value, before[name]) for name, value in base.model.state_dict().items())
    again = load(str(out), "fp32", device="cpu")
    assert same(logits(again.model, again), answers(base, parse_arm(spec, library)), bound)
    assert (
        again.chat_template == base.chat_template
        and again.tokenizer("12 + 30").input_ids == base.tokenizer("12 + 30").input_ids
    )
    assert json.loads((out / "config.json").read_text())["dtype"] == {"bf16": "bfloat16"}.get(dtype, "float32")


def test_other_whole_weights_are_written_too(tiny, tmp_path):
    from yosegi.engine.arm import Arm
    from yosegi.engine.whole import save_weights

    base = tiny()
    moved = {"model.embed_tokens.weight": torch.randn_like(base.model.model.embed_tokens.weight)}
    save_weights(tmp_path / "weights", base, moved)
    about = export(Arm("full", base_delta=tmp_path / "weights"), tmp_path / "out", "hf", base=base, dtype="fp32")
    assert about["logits"]["max_error"] < 1e-4
    written = load(str(tmp_path / "out"), "fp32", device="cpu").model
    assert torch.equal(written.model.embed_tokens.weight, moved["model.embed_tokens.weight"])


@pytest.mark.filterwarnings("ignore:The card of expert")
@each("spec, form, options, words", [
    ("arrow", "peft", {}, "looks at its input.*`yosegi serve` answers with it, and a copy of its library holds it"),
    ("a*.5+b*.5{mix=factors}", "hf", {}, "mixes factors.*yosegi serve"),
    ("base", "peft", {}, "--to hf and --to gguf write models"),
    ("a", "gguf", {}, "nano is neither BPE"),
    ("a", "pft", {}, "Did you mean 'peft'"),
    ("a", "hf", {"dtype": "q8_0"}, "No dtype of hf is called 'q8_0'"),
    ("c", "peft", {}, "'c'"),
])  # fmt: skip
def test_what_cannot_be_is_one_line(spec, form, options, words, nano, library_of, tmp_path):
    if not (tmp_path / "library").exists():
        library_of(nano)
    with pytest.raises((Invalid, UnknownName), match=words) as error:
        export(spec, tmp_path / "out", form, library=tmp_path / "library", base=nano, **options)
    assert "\n" not in str(error.value) and sorted(tmp_path.iterdir()) == [tmp_path / "library"]


def test_nothing_half_written(nano, library_of, tmp_path, monkeypatch):
    library = library_of(nano, (4,))
    with monkeypatch.context() as patched, pytest.raises(Invalid, match=r"0.0 GiB left, and the model needs"):
        patched.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(9, 9, 0))
        export("a", tmp_path / "out", "hf", base=nano, library=library.path)
    with monkeypatch.context() as patched, pytest.raises(OSError, match="full"):
        patched.setattr(
            type(nano.tokenizer), "save_pretrained", lambda *_, **__: (_ for _ in ()).throw(OSError("full"))
        )
        export("a", tmp_path / "out", "hf", base=nano, library=library.path)
    assert sorted(tmp_path.iterdir()) == [library.path]


def test_only_an_export_is_replaced(nano, library_of, tmp_path):
    library = library_of(nano, (4,))
    export("a", tmp_path / "out", library=library.path)
    with pytest.raises(Invalid, match="is there already"):
        export("a", tmp_path / "out", library=library.path)
    export("a", tmp_path / "out", library=library.path, overwrite=True)
    (tmp_path / "mine").mkdir()
    with pytest.raises(Invalid, match="is no export"):
        export("a", tmp_path / "mine", library=library.path, overwrite=True)


def test_an_expert_of_another_base_is_refused(tiny, nano, library_of, tmp_path):
    library_of(nano, (4,))
    with pytest.raises(WrongBase, match="this is llama@0123"):
        export("a", tmp_path / "out", "hf", base=tiny(), library=tmp_path / "library")


def test_the_readme_has_the_scores_of_a_run(nano, library_of, tmp_path):
    library, run = library_of(nano).path, tmp_path / "run"
    rows = [
        {"model": "base", "value": 0.25},
        {"model": "a", "value": 0.5},
        {"model": "a", "value": 0.75, "ci_low": 0.5, "ci_high": 0.9},
    ]
    rows += [{"model": "a", "value": 0.5, "against": "base"}, {"model": "a", "value": 0.1, "base_hash": "another"}]
    common = {"task": "t", "metric": "accuracy", "n": 40, "seed": 0, "base_hash": nano.hash}
    files.write(run / "results.jsonl", files.lines([common | row for row in rows]))
    export("a", tmp_path / "out", library=library, run=run)
    text = (tmp_path / "out" / "README.md").read_text()
    assert "| t | accuracy | 0.750 | 0.500 to 0.900 | 0.250 | 40 | 0 |" in text and text.count("| t |") == 1
    with pytest.raises(NoData, match="no score of 'b'"):
        export("b", tmp_path / "other", library=library, run=run)
    assert not (tmp_path / "other").exists()


def test_the_readme_says_what_it_was_made_of(nano, library_of, tmp_path):
    about = export("a*.7+b*.3", tmp_path / "out", library=library_of(nano).path)
    text = (tmp_path / "out" / "README.md").read_text()
    assert 'license: "apache-2.0"' in text and "| a | 0.7 | task_a | d4 |" in text and nano.hash in text
    assert "--max-lora-rank 16" in text and "Rank 16, 28 linears." in text
    assert "look at its card" in readme(about | {"license": None})
    (tmp_path / "README.md").write_text("---\ntags: [x]\nlicense: gemma\n---\n")
    assert (license_of(str(tmp_path)), license_of("smollm2"), license_of("nano")) == (
        "gemma",
        "apache-2.0",
        "apache-2.0",
    )


def test_a_changed_file_is_noticed(nano, library_of, tmp_path):
    export("a", out := tmp_path / "out", library=library_of(nano, (4,)).path)
    (out / "README.md").write_text("another")
    (out / "adapter_config.json").unlink()
    (out / "extra.py").touch()
    assert [fault.what[:12] for fault in unsealed(out)] == ["is not what ", "is missing", "is not in yo"]
