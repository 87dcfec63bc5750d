"""A GGUF file is read back as the model, the tokenizer and the template that it was written from."""

import re

import numpy as np
import pytest
import torch

from tests.conftest import each
from tests.exporting.conftest import CHATML, TEXTS, byte_tokenizer, character_tokenizer
from yosegi import bases
from yosegi.core.expert import Expert
from yosegi.engine.spec import parse_arm
from yosegi.errors import Invalid, UnknownName
from yosegi.exporting import export
from yosegi.exporting.gguf_files import write_gguf
from yosegi.exporting.merged import logits, tensors
from yosegi.exporting.modelfile import modelfile
from yosegi.exporting.vocabulary import SPLITS

ABOUT = {"name": "tiny", "arm": "base", "base": "tiny", "base_hash": "0", "license": "mit"}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("YOSEGI_CACHE", str(tmp_path / "cache"))


def fields(file):
    import gguf

    return {name: field.contents() for name, field in gguf.GGUFReader(file).fields.items()}


@each("family, dtype, bound", [
    ("llama", "fp32", 1e-4), ("llama", "q8_0", 1.0), ("qwen2", "fp16", 0.05), ("qwen3", "bf16", 0.5), ("gemma2", "fp16", 0.05),
    ("gemma3_text", "fp32", 1e-4),
])  # fmt: skip
def test_it_is_read_back_as_it_was(family, dtype, bound, tiny, library_of, tmp_path):
    import shutil

    shutil.rmtree(tmp_path / "library", ignore_errors=True)
    base = tiny(family)
    library = library_of(base)
    about = export(
        "a*.7+b*.3", out := tmp_path / f"{family}-{dtype}", "gguf", base=base, library=library.path, dtype=dtype
    )
    assert about["logits"]["max_error"] < bound and about["logits"]["spread"] > 0.3
    with (arm := parse_arm("a*.7+b*.3", library)).attached(base):
        expected = logits(base.model, base)
    read = bases.load(str(out / about["file"]), "fp32", device="cpu")
    assert all(torch.allclose(a, b, atol=bound) for a, b in zip(logits(read.model, read), expected, strict=True)), arm
    assert read.chat_template == base.chat_template
    for text in (*TEXTS[:4], "  two  spaces\n\n12345 äé <|im_start|>user 😀", base.tokenizer.eos_token):
        assert read.tokenizer(text).input_ids == base.tokenizer(text).input_ids, text
    assert read.tokenizer.eos_token == base.tokenizer.eos_token
    known = fields(out / about["file"])
    assert known["general.license"] if "general.license" in known else about["license"] is None
    assert (out / "Modelfile").read_text().startswith(f"FROM ./{about['file']}\n")


def test_the_first_gemma_is_compared_tensor_by_tensor(tiny, tmp_path):
    """transformers does not read it from GGUF."""
    import gguf

    base = tiny("gemma")
    file = write_gguf(base, None, tmp_path, "fp32", ABOUT)
    written = {tensor.name: tensor.data for tensor in gguf.GGUFReader(file).tensors}
    weights = dict(tensors(base, None))
    assert len(written) == len(list(base.model.parameters())) and "output.weight" not in written
    assert np.array_equal(written["blk.1.attn_q.weight"], weights["model.layers.1.self_attn.q_proj.weight"].numpy())
    assert np.array_equal(written["output_norm.weight"], weights["model.norm.weight"].numpy() + 1)
    about = export("base", tmp_path / "out", "gguf", base=base)
    assert about["logits"] is None and "does not read this family" in (tmp_path / "out" / "README.md").read_text()


def test_the_frequencies_of_llama_3_1(tiny, tmp_path):
    import gguf

    rope = {"rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    base = tiny(rope_parameters=rope | {"original_max_position_embeddings": 64}, head_dim=32)
    file = write_gguf(base, None, tmp_path, "fp16", ABOUT)
    (factors,) = (tensor.data for tensor in gguf.GGUFReader(file).tensors if tensor.name == "rope_freqs.weight")
    plain = 1e4 ** -(np.arange(0, 32, 2) / 32)
    assert np.allclose(plain / factors, base.model.model.rotary_emb.inv_freq.numpy(), rtol=1e-5)
    assert factors[0] == 1 and np.isclose(factors[-1], 8)


@each("family, more, words", [
    ("gpt2", {"n_positions": 128}, "family that GGUF is written of is called 'gpt2'"),
    ("llama", {"hidden_act": "gelu"}, "its activation is gelu"),
    ("llama", {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}}, "scaled by dynamic"),
    ("mistral", {"sliding_window": 16, "num_key_value_heads": 2}, "attend to a window"),
    ("gemma2", {"query_pre_attn_scalar": 99}, "query_pre_attn_scalar 99"),
    ("gemma2", {"layer_types": ["full_attention"] * 2}, "not every 2th"),
])  # fmt: skip
def test_what_llama_cpp_computes_otherwise_is_refused(family, more, words, tiny, tmp_path):
    with pytest.raises((Invalid, UnknownName), match=words):
        write_gguf(tiny(family, byte_tokenizer(), **more), None, tmp_path, "fp32", ABOUT)


def test_a_number_too_large_for_a_type(tiny, tmp_path):
    base = tiny()
    base.model.model.embed_tokens.weight.data[5, 5] = 7e4
    with pytest.raises(Invalid, match=r"embed_tokens.weight does not fit into fp16"):
        write_gguf(base, None, tmp_path, "fp16", ABOUT)
    with pytest.raises(Invalid, match="does not fit into fp16"):
        export("base", tmp_path / "out", "hf", base=base, dtype="fp16")


@each("split, name", [(None, "gpt-2"), *SPLITS.items()])
def test_rules_have_llama_cpp_s_names(split, name, tiny, tmp_path):
    base = tiny(tokenizer=byte_tokenizer(split))
    file = write_gguf(base, None, tmp_path, "fp16", ABOUT)
    known, types = fields(file), base.tokenizer.get_vocab()
    assert known["tokenizer.ggml.pre"] == name and known["general.license"] == "mit"
    assert (
        known["tokenizer.ggml.tokens"][-1] == f"[PAD{len(types) + 7}]" and known["tokenizer.ggml.token_type"][-1] == 5
    )
    assert [known["tokenizer.ggml.token_type"][types[word]] for word in ("<|im_end|>", "a")] == [3, 1]
    text = "It's 2026, I'VE 12345  things\n\n"
    assert bases.load(str(file), device="cpu").tokenizer(text).input_ids == base.tokenizer(text).input_ids


def test_unknown_rules_are_refused(tiny, tmp_path):
    with pytest.raises(Invalid, match=r"rules that llama.cpp has no name for \(Split, ByteLevel\)"):
        write_gguf(tiny(tokenizer=byte_tokenizer(r"\w+")), None, tmp_path, "fp16", ABOUT)


def test_scores_order_merges_as_sentencepiece_does(tiny, tmp_path):
    """llama.cpp joins the pair with the highest score; its loop, in plain Python, gives the same tokens."""
    tokenizer = character_tokenizer()
    known = fields(write_gguf(tiny("gemma2", tokenizer), None, tmp_path, "fp16", ABOUT))
    place = {word: number for number, word in enumerate(known["tokenizer.ggml.tokens"])}
    pieces = list("the▁and▁then▁then")
    while pairs := [
        (known["tokenizer.ggml.scores"][place[a + b]], -n)
        for n, (a, b) in enumerate(zip(pieces, pieces[1:], strict=False))
        if a + b in place
    ]:
        n = -max(pairs)[1]
        pieces[n : n + 2] = [pieces[n] + pieces[n + 1]]
    assert pieces == tokenizer.tokenize("the and then then") and len(pieces) < 12
    assert (
        known["tokenizer.ggml.token_type"][place["<0x0A>"]] == 6 and known["tokenizer.ggml.add_space_prefix"] is False
    )


@each("family, spec", [("llama", "b"), ("qwen3", "a*.7+b*.3")])
def test_an_adapter_is_recomputed(family, spec, tiny, library_of, tmp_path):
    """alpha / rank · B A, with the rows of q and k as llama.cpp has them, is the delta."""
    import shutil

    import gguf

    shutil.rmtree(tmp_path / "library", ignore_errors=True)
    base = tiny(family)
    library = library_of(base)
    about = export(spec, out := tmp_path / family, "gguf-lora", base=base, library=library.path)
    reader, known = gguf.GGUFReader(out / about["file"]), fields(out / about["file"])
    assert (known["general.type"], known["adapter.type"], known["general.architecture"]) == ("adapter", "lora", family)
    written = {tensor.name: tensor.data for tensor in reader.tensors}
    assert len(written) == 2 * about["linears"] == 2 * 14
    model = {
        tensor.name: tensor.data.copy()
        for tensor in gguf.GGUFReader(write_gguf(base, None, tmp_path, "fp32", ABOUT)).tensors
    }
    merged = gguf.GGUFReader(write_gguf(base, folded(spec, library), tmp_path, "fp32", ABOUT))
    for tensor in merged.tensors:
        if f"{tensor.name}.lora_a" in written:
            A, B = (written[f"{tensor.name}.lora_{letter}"] for letter in "ab")
            delta = known["adapter.lora.alpha"] / A.shape[0] * B @ A
            assert np.allclose(model[tensor.name] + delta, tensor.data, atol=1e-5), tensor.name
            assert np.abs(delta).max() > 1e-2
        else:
            assert np.array_equal(tensor.data, model[tensor.name])


def folded(spec, library) -> Expert:
    from yosegi.engine.fold import fold

    return fold(parse_arm(spec, library), "folded")


def go(template, system, messages):
    """What Ollama makes of these templates: a range over the messages, with a case for each role."""
    _, body, opening = re.fullmatch(
        r"(\{\{ range \.Messages \}\})(.*)\{\{ end \}\}\{\{ end \}\}(.*)", template, re.DOTALL
    ).groups()
    cases = dict(re.findall(r'if eq \.Role "(\w+)" \}\}(.*?)(?:\{\{ else |\Z)', body, re.DOTALL))
    if system and messages[0][0] != "system":
        messages = [("system", system), *messages]
    return "".join(cases[role].replace("{{ .Content }}", content) for role, content in messages) + opening


def test_the_modelfile_writes_a_conversation_as_the_template_does(tiny):
    base = tiny()
    text = modelfile(base, "tiny.gguf")
    parsed = dict(re.findall(r'^(TEMPLATE|SYSTEM) """(.*?)"""$', text, re.DOTALL | re.MULTILINE))
    assert parsed["SYSTEM"] == "Be kind." and re.findall(r'^PARAMETER stop "(.*)"$', text, re.MULTILINE) == [
        "<|im_end|>"
    ]
    for roles in (["user"], ["system", "user", "assistant", "user"], ["user", "assistant", "user"]):
        talk = [(role, f"word {n}") for n, role in enumerate(roles)]
        messages = [{"role": role, "content": content} for role, content in talk]
        expected = base.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        assert go(parsed["TEMPLATE"], parsed["SYSTEM"], talk) == expected


@each("template", ["", CHATML.replace("m['content']", "m['content']|upper"), "{% for m in messages %}{{ m['content'] }}{{ loop.index }}{% endfor %}",
    "{{ raise_exception('no') }}"])  # fmt: skip
def test_no_template_that_would_be_wrong(template, tiny):
    base = tiny()
    base.chat_template = template
    assert "TEMPLATE" not in modelfile(base, "tiny.gguf") and "PARAMETER stop" in modelfile(base, "tiny.gguf")
