"""A GGUF file is a base: the same model as it was written from, made once, or one line of what is wrong with it."""

from pathlib import Path

import pytest
import torch

from yosegi import bases, files
from yosegi.bases import _gguf
from yosegi.errors import Corrupt, NoData

TEMPLATE = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}<end>{% endfor %}"
WORDS = ["<unk>", "<start>", "<end>", *"abcdefghijklmnopqrstuvwxyz", "Ġ", "ab"]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("YOSEGI_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "bases"


@pytest.fixture(scope="module")
def llama():
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(WORDS), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, bos_token_id=1, eos_token_id=2, rms_norm_eps=1e-5,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def write(path: Path, model, without: str = "nothing") -> Path:
    """A file as llama.cpp's converter writes it: its names of tensors, and rotary halves side by side."""
    import gguf

    config, writer = model.config, gguf.GGUFWriter(path, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(len(WORDS))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(WORDS)
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_chat_template(TEMPLATE)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for key, value in model.state_dict().items():
        if without in key:
            continue
        if heads := {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(
            key.split(".")[-2]
        ):
            value = value.reshape(heads, 2, -1, value.shape[1]).swapaxes(1, 2).reshape(value.shape)
        writer.add_tensor(names.get_name(key, (".weight",)), value.contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_a_file_is_the_model_it_was_written_from(tmp_path, llama, cache, capsys):
    file = write(tmp_path / "tiny.gguf", llama)
    base = bases.load(str(file), device="cpu")
    ids = torch.tensor([[3, 9, 4, 17]])
    assert torch.equal(base.model(ids).logits, llama(ids).logits)
    assert base.name == str(file) and base.tokenizer.chat_template == TEMPLATE
    assert (base.tokenizer.bos_token, base.tokenizer.eos_token) == ("<start>", "<end>")
    assert capsys.readouterr().err.count("\n") == 1  # what is made, and where it is kept
    assert [path.name for path in cache.iterdir()] == [f"gguf-{files.sha256(file)[:16]}"]


def test_it_is_made_once_and_known_by_its_content(tmp_path, llama, cache, monkeypatch):
    first = bases.locate(str(write(tmp_path / "tiny.gguf", llama)))
    (tmp_path / "tiny.gguf").rename(tmp_path / "renamed.gguf")
    monkeypatch.setattr(_gguf, "_read", lambda *_: pytest.fail("made again"))
    assert bases.locate(str(tmp_path / "renamed.gguf")) == first


def test_a_conversion_that_is_stopped_leaves_nothing(tmp_path, llama, cache, monkeypatch):
    from transformers import PreTrainedTokenizerBase

    file = write(tmp_path / "tiny.gguf", llama)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(
            PreTrainedTokenizerBase, "save_pretrained", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        bases.locate(str(file))
    assert list(cache.iterdir()) == []
    assert bases.load(str(file), device="cpu").hash


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (lambda file: b"", "is no GGUF file"),
        (lambda file: b"pickle" * 9, "is no GGUF file"),
        (lambda file: file[:600], "cannot be made into a base"),
        (lambda file: file[:-5000], "cannot be made into a base"),
        (lambda file: file.replace(b"llama", b"lmao!"), "cannot be made into a base: .*lmao"),
    ],
)
def test_a_damaged_file_is_one_line(tmp_path, llama, cache, content, words):
    file = write(tmp_path / "tiny.gguf", llama)
    file.write_bytes(content(file.read_bytes()))
    with pytest.raises(Corrupt, match=words) as error:
        bases.load(str(file))
    assert "\n" not in str(error.value) and not (cache.exists() and list(cache.iterdir()))


def test_a_file_without_some_weights_is_refused_by_their_names(tmp_path, llama):
    file = write(tmp_path / "tiny-00001-of-00002.gguf", llama, without="layers.1.mlp")
    with pytest.raises(Corrupt, match=r"lack model.layers.1.mlp.*; of a model in several files, join them first"):
        bases.load(str(file))


def test_a_file_that_is_not_there():
    with pytest.raises(NoData, match="There is no file 'nowhere.gguf'"):
        bases.load("nowhere.gguf")
