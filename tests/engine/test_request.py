"""What ends an answer, and what its tokens are drawn from, against the plainest way to say it."""

import pytest
import torch
from torch import Tensor

from yosegi.bases import Base
from yosegi.engine.request import Request, Stop, cut, ending, scores


def test_all_tokens_that_end_a_text_are_taken_from_the_checkpoint(tiny):
    base = tiny("llama")
    base.model.generation_config.eos_token_id, base.model.config.eos_token_id = [7, 9], 11
    assert Stop(base).ids == {1, 7, 9, 11}
    base.model.generation_config.eos_token_id = None
    assert Stop(base).ids == {1, 11}
    assert ending(base.tokenizer, base.model.config) == {1, 11}


def test_stop_strings_are_cut_off():
    assert cut("42\n\nQuestion: 7", ["\n\n", "Question"]) == "42"
    assert cut("42", []) == "42"


def written_in(kind, nano):
    """nano's tokenizer of letters; one of bytes, whose tokens may be part of a letter; one whose spaces belong to words."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    if kind == "letters":
        return nano.tokenizer
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    raw = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(letters)}, merges=[]))
    raw.pre_tokenizer, raw.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    if kind == "words":
        words = ["one", "▁one", "▁two", "▁c", "▁d", "▁ab", "▁a", "b", "▁7", "\n", "▁", "本", "<unk>"]
        raw = Tokenizer(models.Unigram([(word, -1.0) for word in words], unk_id=len(words) - 1))
        raw.pre_tokenizer, raw.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    return PreTrainedTokenizerFast(tokenizer_object=raw)


@pytest.mark.parametrize("kind", ["letters", "bytes", "words"])
@pytest.mark.parametrize("strings", [[], ["\n\n"], ["ab", "c d"], ["日本"], [" "], ["7", "e t"], [" ab"]])
def test_an_answer_ends_where_decoding_all_of_it_says_so(nano, kind, strings):
    tokenizer = written_in(kind, nano)
    base = Base("any", "0123456789ab", nano.model, tokenizer)
    texts, seen = ["one two\n\n one", "b ab c d", "a 日本 日", "ab", "b b c d", "7 7", "two one two"], set()
    for text in texts:
        ids, stop = tokenizer(text).input_ids, Stop(base, strings)
        stop.ids = frozenset()
        for n in range(1, len(ids) + 1):
            now, before = (any(string in tokenizer.decode(ids[:m]) for string in strings) for m in (n, n - 1))
            assert stop.ends(ids[:n]) == now or before, (text, ids[:n])  # nobody asks again after the end
            seen.add(now)
    assert seen == (
        {True, False} if strings and (kind, strings) not in (("letters", ["日本"]), ("words", ["日本"])) else {False}
    )


def drawn(base, logit_V: Tensor, n=4000, **how) -> Tensor:
    """Shares of the tokens in n draws."""
    request = Request([5], Stop(base), 1, temperature=1.0, n=n, **how)
    tokens = scores(logit_V.expand(n, -1).clone(), request.completions).argmax(-1)
    return torch.bincount(tokens, minlength=len(logit_V)) / n


def test_draws_are_from_what_top_k_and_top_p_leave(nano):
    logit_V = torch.tensor([0.5, 2.0, 1.0, 1.5, -3.0])
    p_V = logit_V.softmax(-1)
    for how, left in [({}, [0, 1, 2, 3, 4]), ({"top_k": 2}, [1, 3]), ({"top_p": 0.5}, [1, 3]), ({"top_p": 0.01}, [1]),
                      ({"top_p": 0.8}, [1, 3, 2]), ({"top_k": 3, "top_p": 0.6}, [1, 3]), ({"top_k": 9}, [0, 1, 2, 3, 4])]:  # fmt: skip
        expected_V = torch.zeros(5).index_copy(0, torch.tensor(left), p_V[left])
        expected_V = expected_V / expected_V.sum()
        assert (drawn(nano, logit_V, **how) - expected_V).abs().sum() / 2 < 0.03, how
    greedy = Request([5], Stop(nano), 1)
    assert torch.equal(scores(logit_V[None], greedy.completions), logit_V[None])


def test_rows_of_one_batch_have_their_own_settings(nano):
    logit_V = torch.randn(50)
    asked = [Request([5], Stop(nano), 1, **how) for how in
             ({}, {"temperature": 1.0, "seed": 3}, {"temperature": 0.3, "top_k": 4, "seed": "a"}, {"temperature": 2.0, "top_p": 0.9})]  # fmt: skip
    together = scores(logit_V.expand(4, -1).clone(), [request.completions[0] for request in asked])
    for row_V, request in zip(together, asked, strict=True):
        again = Request([5], Stop(nano), 1, request.temperature, request.top_p, request.top_k, request.seed)
        torch.testing.assert_close(scores(logit_V[None].clone(), again.completions)[0], row_V)


def test_a_token_at_the_limit_may_still_be_the_end(nano):
    for last, reason in ((1, "stop"), (50, "length")):
        (completion,) = Request([5], Stop(nano), 2).completions
        assert not completion.push(60) and completion.push(last) and completion.reason == reason


def test_who_listens_hears_of_every_token(nano):
    heard = []
    request = Request(
        [5], Stop(nano), 3, listen=lambda completion: heard.append((len(completion.ids), completion.reason))
    )
    for token in (60, 61, 1):
        request.completions[0].push(token)
    assert heard == [(1, ""), (2, ""), (3, "stop")] and request.done
