"""The log-likelihood of a text against the plain loop over its tokens."""

import pytest
import torch

from yosegi.bases import Base, load
from yosegi.errors import Invalid
from yosegi.estimate.memory import TOKENS
from yosegi.scores._windows import window_logprobs, windows


@pytest.fixture(scope="module")
def nano():
    return load("nano", device="cpu")


@torch.no_grad()
def loop(base, ids):
    """log p of each token given those before it, one by one."""
    total, before = 0.0, [base.tokenizer.bos_token_id]
    for token in ids:
        total += base.model(torch.tensor([before])).logits[0, -1].log_softmax(-1)[token].item()
        before.append(token)
    return total


def test_it_is_the_loop_whatever_is_padded(nano, monkeypatch):
    pieces = [piece for text in ("copy: abc", "1+2=3, so 2+1=3", "寄木", "a") for piece in windows(nano, text, 4)]
    expected = [loop(nano, piece) for piece in pieces]
    for tokens in (1, 30, 8192):
        monkeypatch.setitem(TOKENS, "cpu", tokens)
        assert window_logprobs(nano, pieces) == pytest.approx(expected, rel=1e-4)


def test_windows_are_the_text_in_pieces(nano):
    text = "The quick brown fox. " * 40
    ids = nano.tokenizer(text, add_special_tokens=False)["input_ids"]
    every = windows(nano, text, 10**6, length=11)
    assert len(every) > 20 and [i for piece in every for i in piece] == ids and max(map(len, every)) == 10
    few = windows(nano, text, 3, length=11)
    assert few == [every[0], every[(len(every) - 1) // 2], every[-1]]
    assert windows(nano, text, 1, length=11) == every[:1] and windows(nano, "", 3) == []
    assert max(len(piece) for piece in windows(nano, text * 9, 99)) == nano.model.config.max_position_embeddings - 1


def test_bases_and_arguments_that_are_refused(nano, t5):
    with pytest.raises(Invalid, match="encoder-decoder"):
        windows(Base("t5", "0", t5, nano.tokenizer), "a", 1)
    with pytest.raises(Invalid, match="windows=0"):
        windows(nano, "a", 0)
