"""How a base is loaded: what `auto` decides, and what is refused."""

from types import SimpleNamespace

import pytest
import torch

from tests.conftest import each
from yosegi import bases
from yosegi.bases import _options
from yosegi.bases._options import choose_device, choose_dtype, choose_template, cpu_has_bf16
from yosegi.errors import Invalid

SIZES = {"intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4, "vocab_size": 287}


def config(width, dtype=torch.float32):
    """As much of a model's config as the choice looks at."""
    return SimpleNamespace(get_text_config=lambda: SimpleNamespace(hidden_size=width), dtype=dtype)


WIDE, NARROW, HALF = config(512), config(256), config(512, torch.bfloat16)


@each(
    "asked, config, device, cpu, gpu, chosen",
    [
        ("auto", WIDE, "cpu", True, False, "bf16"),
        ("auto", WIDE, "cpu", False, False, "fp32"),
        ("auto", NARROW, "cpu", True, False, "fp32"),
        ("fp32", WIDE, "cpu", True, False, "fp32"),
        ("bf16", NARROW, "cpu", False, False, "bf16"),
        ("auto", HALF, "cuda:0", False, True, "bf16"),
        ("auto", HALF, "cuda:0", False, False, "fp32"),
        ("auto", WIDE, "cuda", True, True, "fp32"),
        ("auto", HALF, "mps", True, True, "fp32"),
    ],
)
def test_the_precision_that_pays(monkeypatch, asked, config, device, cpu, gpu, chosen):
    monkeypatch.setattr(_options, "cpu_has_bf16", lambda: cpu)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: gpu)
    assert choose_dtype(asked, config, device) == chosen


def test_a_cpu_says_what_it_has(monkeypatch):
    cpu_has_bf16.cache_clear()
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    for capabilities, has in (({"avx512_bf16": True}, True), ({"amx_bf16": True}, True), ({"avx512_f": True}, False)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda known=capabilities: known)
        assert cpu_has_bf16() is has
        cpu_has_bf16.cache_clear()


def test_a_wide_base_is_held_in_bf16_and_says_so_in_one_line(tmp_path, monkeypatch, capsys):
    torch.manual_seed(0)
    from transformers import LlamaConfig, LlamaForCausalLM

    LlamaForCausalLM(LlamaConfig(hidden_size=512, eos_token_id=1, **SIZES)).save_pretrained(tmp_path)
    bases.load("nano", device="cpu").tokenizer.save_pretrained(tmp_path)
    monkeypatch.setattr(_options, "cpu_has_bf16", lambda: True)
    capsys.readouterr()
    base = bases.load(str(tmp_path), device="cpu")
    (line,) = capsys.readouterr().err.strip().split("\n")
    assert "is held in bf16" in line and "--dtype fp32" in line and base.reads == {"dtype": "bf16"}
    assert {p.dtype for p in base.model.parameters()} == {torch.bfloat16}
    exact = bases.load(str(tmp_path), "fp32", device="cpu")
    assert capsys.readouterr().err == "" and exact.reads == {} and exact.hash == base.hash


@each("device", ["gpu", "cuda:x", "cuda:99", "mps", "cpu0"])
def test_a_device_that_is_not_here_is_refused(device):
    if device == "mps" and torch.backends.mps.is_available():
        return
    with pytest.raises(Invalid, match=f"--device '{device}'"):
        choose_device(device)


def test_attention_is_as_asked():
    assert bases.load("nano", device="cpu", attn_implementation="eager").model.config._attn_implementation == "eager"
    assert bases.load("nano", device="cpu").model.config._attn_implementation == "sdpa"


def test_a_tokenizer_with_several_templates_is_asked_for_the_default():
    class Tokenizer:
        chat_template = {"default": "D", "tool_use": "T"}

    assert choose_template("auto", Tokenizer()) == "D" and choose_template("none", Tokenizer()) == ""
