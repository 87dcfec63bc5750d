"""Tiny bases of the families that GGUF is written of, with tokenizers made on the spot, and libraries of experts for them."""

import pytest
import torch

from yosegi.bases import Base
from yosegi.core.expert import Expert, Factors
from yosegi.core.model import linears, shape
from yosegi.exporting.vocabulary import SPLITS
from yosegi.library.store import Library

CHATML = (
    "{% for m in messages %}{% if loop.first and m['role'] != 'system' %}<|im_start|>system\nBe kind.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
QWEN, _ = SPLITS
TEXTS = [
    "the capital of France is Paris",
    "12 + 30 = 42 and 7",
    "def add(a, b): return a + b",
    "日本の首都は東京です",
] * 5
FAMILIES = {
    "llama": dict(num_key_value_heads=2),
    "qwen2": dict(num_key_value_heads=2),
    "qwen3": dict(num_key_value_heads=2, head_dim=128),
    "gemma": dict(num_key_value_heads=1, head_dim=32, hidden_size=128),
    "gemma2": dict(num_key_value_heads=2, head_dim=256, query_pre_attn_scalar=256, sliding_window=32),
    "gemma3_text": dict(num_key_value_heads=1, head_dim=256, query_pre_attn_scalar=256, sliding_window=32),
}


def byte_tokenizer(split=None):
    """A byte-level BPE as GPT-2's, or with another rule for words."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.BPE())
    before = [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=split is None)]
    if split is not None:
        before.insert(0, pre_tokenizers.Split(Regex(split), behavior="isolated"))
    words.pre_tokenizer = pre_tokenizers.Sequence(before) if split is not None else before[0]
    words.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    words.train_from_iterator(
        TEXTS,
        trainers.BpeTrainer(vocab_size=320, special_tokens=special, initial_alphabet=alphabet, show_progress=False),
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=words, eos_token="<|im_end|>", pad_token="<|endoftext|>", chat_template=CHATML
    )


def character_tokenizer():
    """A BPE over characters as Gemma's, with a piece for every byte."""
    from transformers import GemmaTokenizer
    from transformers.tokenization_utils_base import generate_merges

    words = [
        "<pad>",
        "<eos>",
        "<bos>",
        "<unk>",
        *(f"<0x{n:02X}>" for n in range(256)),
        "▁t",
        "▁the",
        "he",
        "th",
        "an",
        "and",
        "▁and",
    ]
    words += sorted({character.replace(" ", "▁") for text in TEXTS for character in text})
    vocab = {word: number for number, word in enumerate(dict.fromkeys(words))}
    merges = generate_merges(vocab, {word: -number for word, number in vocab.items()})
    return GemmaTokenizer(vocab=vocab, merges=merges, chat_template=CHATML.replace("<|im_end|>", "<end>"))


@pytest.fixture
def tiny():
    """tiny("qwen3"): a random base of a family."""
    from transformers import AutoConfig, AutoModelForCausalLM

    def make(family="llama", tokenizer=None, rows=8, **more):
        words = (QWEN,) if family.startswith("qwen") else ()
        tokenizer = tokenizer or (character_tokenizer() if family.startswith("gemma") else byte_tokenizer(*words))
        sizes = dict(hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4)
        if family == "gemma3_text":
            sizes["num_hidden_layers"] = 7  # the sixth attends to all
        config = AutoConfig.for_model(
            family, vocab_size=len(tokenizer) + rows, max_position_embeddings=128, bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, **sizes | FAMILIES.get(family, {}) | more,
        )  # fmt: skip
        model = AutoModelForCausalLM.from_config(config).eval()
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                small = "norm" in name or "bias" in name
                parameter.copy_(torch.randn_like(parameter) * (0.1 if small else 0.2))
                if "norm" in name and not family.startswith("gemma"):  # whose norms are 1 + w
                    parameter += 1
        return Base(family, "0123456789ab", model, tokenizer, chat_template=tokenizer.chat_template or "")

    return make


@pytest.fixture
def library_of(tmp_path):
    """library_of(base, (4, 12)): a library with random experts a, b, … of these ranks."""

    def make(base, ranks=(4, 12), targets="all-linear"):
        library, modules = Library(tmp_path / "library", base.hash, base.name), dict(base.model.named_modules())
        for name, R in zip("abcd", ranks, strict=False):
            factors = {}
            for n, layer in enumerate(linears(base.model, targets)):
                O, I = shape(modules[layer])
                factors[layer] = Factors(
                    torch.randn(R, I) / I**0.5, torch.randn(O, R) * 0.05, 0.5 + n % 2 * (name == "b")
                )
            card = {"task": [f"task_{name}"], "base_hash": base.hash, "base": base.name, "data_hash": "d4"}
            library.add(Expert(name, factors, card))
        return library

    return make
