"""Published shapes have the published sizes; the shape of a config has all its numbers."""

import pytest

from tests.conftest import each
from tests.estimate.conftest import config
from yosegi.bases import locate
from yosegi.core.model import linears
from yosegi.core.model import shape as shape_of_linear
from yosegi.errors import Invalid, UnknownName
from yosegi.estimate.shapes import PRESETS, of_config, preset

PUBLISHED = {
    "60m": 58.1e6,
    "130m": 134.1e6,
    "350m": 367.9e6,
    "1b": 1339e6,
    "7b": 6738e6,
    "13b": 13016e6,
    "70b": 68977e6,
}


def test_there_are_seven_and_their_sizes_are_known():
    assert PUBLISHED.keys() == PRESETS.keys()
    for name, params in PUBLISHED.items():
        assert preset(name.upper()).params == pytest.approx(params, rel=1e-3)


@each("changes", [{}, {"num_key_value_heads": 4}, {"tie_word_embeddings": True}, {"head_dim": 32}])
def test_a_llama_is_pictured_whole(changes):
    from transformers import LlamaForCausalLM

    shape = of_config("tiny", config(**changes))
    model = LlamaForCausalLM(config(**changes))
    assert shape.more == 0 and shape.params == sum(p.numel() for p in model.parameters())
    assert shape.tensors == len(list(model.parameters()))
    every = [shape_of_linear(model.get_submodule(name)) for name in linears(model)]
    assert sorted(every) == sorted([*shape.linears().values()] * shape.layers)


def test_what_the_picture_does_not_show_is_counted():
    from transformers import GPT2Config, Qwen3Config

    qwen = Qwen3Config(
        vocab_size=200, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=16,
    )  # fmt: skip
    shape = of_config("qwen", qwen)
    assert shape.more == 2 * 2 * 16 and shape.gated  # a norm for queries and one for keys
    gpt2 = of_config("gpt2", GPT2Config(vocab_size=200, n_embd=64, n_layer=2, n_head=4, n_positions=32))
    assert not gpt2.gated and gpt2.tied and gpt2.inner == 256 and gpt2.more > 0


def test_the_config_of_a_base():
    from transformers import AutoConfig

    shape = of_config("nano", AutoConfig.from_pretrained(locate("nano")))
    assert (shape.hidden, shape.layers, shape.tied) == (128, 4, True) and shape.more == 0


def test_targets():
    shape = preset("70b")
    assert set(shape.linears("ffn")) == {"gate_proj", "up_proj", "down_proj"}
    assert shape.linears("k_proj,down_proj") == {"k_proj": (1024, 8192), "down_proj": (8192, 28672)}
    assert set(shape.linears()) == set(shape.linears("attention")) | set(shape.linears("ffn"))
    with pytest.raises(UnknownName, match="Did you mean 'q_proj'"):
        shape.linears("q_prj")


def test_what_is_not_such_a_decoder_is_refused():
    from transformers import MixtralConfig, T5Config

    with pytest.raises(Invalid, match="encoder-decoder"):
        of_config("t5", T5Config())
    with pytest.raises(Invalid, match="mixture"):
        of_config("mixtral", MixtralConfig())
    with pytest.raises(UnknownName, match="7b"):
        preset("8b")


def test_no_memory_is_taken_for_a_model_that_has_none():
    """280 GB would not fit here."""
    assert of_config("large", config(hidden_size=8192, intermediate_size=32768, num_hidden_layers=80)).params > 70e9
