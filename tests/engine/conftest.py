"""The embedded base, and two experts that really say something."""

import pytest
import torch

from yosegi.bases import Base, load
from yosegi.core.expert import Expert, Factors
from yosegi.inits import fresh


@pytest.fixture(scope="session")
def nano() -> Base:
    return load("nano", device="cpu")


@pytest.fixture
def pair(nano) -> list[Expert]:
    """Two random experts of different rank; the first learnt skills/add, the second skills/reverse."""
    found = []
    for name, task, rank in (("adder", "skills/add", 2), ("turner", "skills/reverse", 4)):
        expert = fresh(nano.model, name, rank=rank, alpha=rank, task=task)
        factors = {k: Factors(f.A_RI, torch.randn_like(f.B_OR) * 0.1, f.scale) for k, f in expert.factors.items()}
        found.append(Expert(name, factors, {"task": [task], "base_hash": nano.hash}))
    return found


FAMILIES = {
    "llama": dict(num_key_value_heads=2),
    "qwen3": dict(num_key_value_heads=2, head_dim=16),
    "mistral": dict(num_key_value_heads=2, sliding_window=7),
    "gemma2": dict(num_key_value_heads=2, head_dim=16, sliding_window=7),
    "gpt_neox": {},
    "gpt2": {},
    "opt": dict(ffn_dim=48, word_embed_proj_dim=32),
    "bloom": {},
    "mamba": dict(state_size=8),
    "rwkv": dict(attention_hidden_size=32),
    "t5": dict(d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, decoder_start_token_id=0),
}


@pytest.fixture
def tiny(nano):
    """tiny("gpt2"): a random base of a family, with nano's tokenizer."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

    def make(family: str, **more) -> Base:
        sizes = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4)
        if family in ("t5",):
            sizes = {}
        config = AutoConfig.for_model(
            family, vocab_size=len(nano.tokenizer), pad_token_id=0, bos_token_id=1, eos_token_id=1, max_position_embeddings=128,
            **sizes, **FAMILIES[family], **more,
        )  # fmt: skip
        torch.manual_seed(0)
        kind = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
        model = kind.from_config(config).eval()
        with torch.no_grad():  # an untrained head is of one opinion about all tokens; this one is not
            for name, parameter in model.named_parameters():
                if parameter.dim() > 1 and "norm" not in name:
                    parameter.mul_(3)
        return Base(family, "0123456789ab", model, nano.tokenizer)

    return make


def one_by_one(base, ids, steps):
    """The plainest greedy loop: no cache, no padding, one prompt. Its tokens, and the margin of each: best less second best."""
    written, margins = [], []
    start = [base.model.config.decoder_start_token_id] if base.seq2seq else []
    for _ in range(steps):
        if base.seq2seq:
            given = {"input_ids": torch.tensor([ids]), "decoder_input_ids": torch.tensor([start + written])}
        else:
            given = {"input_ids": torch.tensor([ids + written])}
        with torch.no_grad():
            best = base.model(**given, use_cache=False).logits[0, -1].topk(2)
        written.append(int(best.indices[0]))
        margins.append(float(best.values[0] - best.values[1]))
        if written[-1] == base.tokenizer.eos_token_id:
            break
    return written, margins


def agree(got, expected):
    """Whether tokens are equal up to the first step whose margin is below 1e-4, and how many steps that is."""
    tokens, margins = expected
    sure = next((n for n, margin in enumerate(margins) if margin < 1e-4), len(tokens))
    return got[:sure] == tokens[:sure], sure
