"""Features of prompts: a mean over real tokens, the same in any company, of the base and never of its experts."""

import pytest
import torch
from torch.nn.functional import normalize

from tests.training.conftest import tiny_base
from yosegi.bases import Base
from yosegi.core.model import attach
from yosegi.engine.features import features
from yosegi.errors import Corrupt, Invalid, NoData
from yosegi.routers.uniform import Uniform

TEXTS = ["1+2=", "abc", "9", "123456789+abcdefghij=", "a b c d", "0+0="]


@pytest.fixture(params=["llama", "gpt2", "t5"])
def base(request):
    model = request.getfixturevalue(request.param)
    return Base("tiny", "0" * 12, model, tiny_base().tokenizer)


@torch.no_grad()
def plainly(base, text):
    """One text, no padding, no batch."""
    ids = torch.tensor([base.tokenizer(text).input_ids])
    inner = base.model.encoder if base.seq2seq else base.model.base_model
    return normalize(inner(ids).last_hidden_state[0].mean(0), dim=0)


def test_is_the_mean_over_tokens(base):
    found = features(base, TEXTS)
    torch.testing.assert_close(found, torch.stack([plainly(base, text) for text in TEXTS]), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.norm(dim=-1), torch.ones(6))
    assert not found.requires_grad and (found[0] - found[1]).norm() > 0.1


@pytest.mark.parametrize("side", ["left", "right"])
def test_company_and_padding_change_nothing(base, side):
    want = features(base, TEXTS)
    base.tokenizer.padding_side = side
    for size in (1, 2, 6):
        torch.testing.assert_close(features(base, TEXTS, batch_size=size), want, atol=1e-5, rtol=0)
    torch.testing.assert_close(features(base, TEXTS[::-1]).flip(0), want, atol=1e-5, rtol=0)


def test_experts_are_silent_meanwhile_and_heard_again_afterwards(base, experts):
    want, ids = features(base, TEXTS), {"input_ids": torch.randint(3, 20, (2, 5))}
    if base.seq2seq:
        ids["decoder_input_ids"] = ids["input_ids"]
    banks = attach(base.model, experts(base.model, 2), Uniform())
    with torch.no_grad():
        said = base.model(**ids).logits
        assert torch.equal(features(base, TEXTS, banks), want)
        assert (features(base, TEXTS) - want).abs().max() > 1e-3  # nobody asked them to be silent
        assert torch.equal(base.model(**ids).logits, said)


def test_training_mode_is_as_it_was(base):
    base.model.train()
    want = features(base, TEXTS)
    assert base.model.training and torch.equal(features(base, TEXTS), want)  # without dropout


def test_a_text_of_nothing_and_one_that_is_too_long(base):
    found = features(base, ["", "1+2=" * 100, "1+2="])
    assert found.isfinite().all()
    torch.testing.assert_close(found.norm(dim=-1), torch.ones(3))
    with pytest.raises(Invalid, match="no prompts"):
        features(base, [])


def test_half_precision(base):
    want = features(base, TEXTS)
    base.model.to(torch.bfloat16)
    found = features(base, TEXTS)
    assert found.dtype == torch.float32 and (found - want).norm(dim=-1).max() < 0.1


def test_another_encoder(base, tmp_path):
    from transformers import BertConfig, BertModel

    config = BertConfig(vocab_size=40, hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32)
    encoder = BertModel(config).eval()
    encoder.save_pretrained(tmp_path)
    base.tokenizer.save_pretrained(tmp_path)
    found = features(base, TEXTS, encoder=str(tmp_path))
    other = Base("bert", "0" * 12, encoder, base.tokenizer)
    assert found.shape == (6, 24)
    with torch.no_grad():
        for text, vector in zip(TEXTS, found, strict=True):
            ids = torch.tensor([other.tokenizer(text).input_ids])
            torch.testing.assert_close(
                vector, normalize(encoder(ids).last_hidden_state[0].mean(0), dim=0), atol=1e-5, rtol=0
            )


def test_an_encoder_that_is_not_here(base, tmp_path):
    with pytest.raises(NoData, match="'no/such-encoder' is no folder and could not be fetched from the Hub") as raised:
        features(base, TEXTS, encoder="no/such-encoder")
    assert "\n" not in str(raised.value)
    (tmp_path / "broken").mkdir()
    with pytest.raises(Corrupt, match="broken cannot be loaded") as raised:
        features(base, TEXTS, encoder=str(tmp_path / "broken"))
    assert "\n" not in str(raised.value)
