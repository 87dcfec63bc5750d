"""Examples -> tokens -> batches."""

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, processors

from tests.training.conftest import sums, tiny_base, tiny_t5
from yosegi.bases import Base
from yosegi.engine.rows import (
    TokensRead,
    collate,
    cut_words,
    data_hash,
    encode_pairs,
    encode_prompts,
    frame,
    order,
    start_of_text,
    to_batch,
    tokenise,
    windows,
)
from yosegi.errors import Invalid
from yosegi.tasks import Example


@pytest.fixture
def base():
    return tiny_base()


def test_only_the_answer_is_a_target(base):
    (row,) = tokenise(base, [Example("x", "1+2=", "3")], 64)
    eos = base.tokenizer.eos_token_id
    assert row["input_ids"] == [*base.tokenizer("1+2=").input_ids, *base.tokenizer("3").input_ids, eos]
    assert row["labels"] == [-100] * 4 + row["input_ids"][4:]
    (row,) = tokenise(base, [Example("x", "1+2=", "3")], 64, objective="lm")
    assert row["labels"] == row["input_ids"]
    (row,) = tokenise(tiny_t5(), [Example("x", "1+2=", "3")], 64)
    assert row["input_ids"] == base.tokenizer("1+2=").input_ids and row["labels"][-1] == eos and len(row["labels"]) == 2


def test_a_long_prompt_loses_its_beginning_and_a_long_answer_its_end(base):
    (row,) = tokenise(base, [Example("x", "abcdefgh=", "12")], 5)
    assert base.tokenizer.decode(row["input_ids"][:2]).replace(" ", "") == "h=" and len(row["input_ids"]) == 5
    (row,) = tokenise(base, [Example("x", "ab=", "123456789")], 5)
    assert len(row["input_ids"]) == 5 and row["labels"] == row["input_ids"]


def test_nothing_to_learn_is_an_error(base):
    with pytest.raises(Invalid, match="no examples"):
        tokenise(base, [], 8)


def test_the_order_is_shuffled_epochs_however_long_it_is_asked_for():
    long = order(10, 35, seed=3)[:]
    assert [sorted(long[i : i + 10]) for i in (0, 10, 20)] == [list(range(10))] * 3
    assert order(10, 12, seed=3)[:] == long[:12] != order(10, 12, seed=4)[:]


def test_batches_are_padded_on_the_right():
    rows = [{"input_ids": [5, 6, 7], "labels": [-100, 6, 7]}, {"input_ids": [8], "labels": [8]}]
    batch = collate(pad=0)(rows)
    assert batch["input_ids"].tolist() == [[5, 6, 7], [8, 0, 0]] and batch["labels"].tolist()[1] == [8, -100, -100]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch["input_ids"].dtype == torch.long


def test_positions_are_padded_with_documents_of_their_own():
    rows = [{"input_ids": [5, 6, 7], "labels": [-100, 6, 7], "position_ids": [0, 1, 2]}]
    rows += [{"input_ids": [8], "labels": [-100], "position_ids": [0]}]
    assert collate(pad=0)(rows)["position_ids"].tolist() == [[0, 1, 2], [0, 0, 0]]


def test_tokens_are_counted_step_by_step():
    rows = [{"input_ids": [1] * size} for size in (3, 5, 7)]
    read = TokensRead(rows, [0, 1, 2, 2, 0], 2)
    assert [read[n] for n in (0, 1, 2, 3, 1)] == [0, 8, 22, 25, 8]
    endless, short = order(3, 10**12, seed=1), order(3, 20, seed=1)
    far, near = TokensRead(rows, endless, 2), TokensRead(rows, list(short), 2)
    assert [far[n] for n in (9, 1, 2, 7, 3)] == [near[n] for n in (9, 1, 2, 7, 3)], (
        "whole epochs are known without being drawn"
    )
    assert endless[5:9] + [endless[1]] == [*short[5:9], short[1]] and far[3 * 10**10] == 2 * 10**10 * 15


def test_the_data_hash_knows_order_and_targets(base):
    rows = tokenise(base, sums(), 16)
    assert data_hash(rows) == data_hash(tokenise(base, sums(), 16)) != data_hash(rows[::-1])
    assert data_hash(rows) != data_hash(tokenise(base, sums(), 16, objective="lm"))


def pieces_base(added="", eos="</s>", **marks) -> Base:
    """A tiny base whose tokenizer is SentencePiece-like: every text and every word begins with "▁"; `added` as in "<s> $A"."""
    from transformers import PreTrainedTokenizerFast

    words = ["<unk>", "<s>", "</s>", "▁", "▁Answer", ":", "▁A", "▁B", "A", "B", "n", "s", "w", "e", "r", "▁is"]
    scores = [0.0, 0.0, 0.0, -8.0, -1.0, -1.0, -2.0, -2.0] + [-4.0] * 7 + [-1.0]
    tokenizer = Tokenizer(models.Unigram(list(zip(words, scores, strict=True)), unk_id=0))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    if added:
        tokenizer.post_processor = processors.TemplateProcessing(added, special_tokens=[("<s>", 1), ("</s>", 2)])
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token=eos, pad_token="<unk>", **marks
    )
    return Base("pieces", "0" * 12, tiny_base().model, wrapped)


ANSWER, COLON, A, B, BOS, EOS = 4, 5, 6, 7, 1, 2
QUESTION = Example("q", "Answer:", " A")


def test_prompt_and_answer_are_the_tokens_of_the_text_they_make_together():
    base = pieces_base()
    assert base.tokenizer(" A").input_ids == [3, A], "alone it has a mark too many"
    (row,) = tokenise(base, [QUESTION], 64)
    assert row == {"input_ids": [ANSWER, COLON, A, EOS], "labels": [-100, -100, A, EOS]}
    assert encode_pairs(base, [("Answer: ", "A"), ("Answer:", ""), ("Ans", "wer: B")]) == [
        ([ANSWER, COLON], [A]),  # the token that holds the end of the prompt is the answer's
        ([ANSWER, COLON], []),
        ([], [ANSWER, COLON, B]),
    ]


@pytest.mark.parametrize("added", ["<s> $A", "<s> $A </s>", "$A </s>", ""])
def test_no_end_of_text_stands_inside_and_one_at_the_end(added):
    base = pieces_base(added)
    first = [BOS] if added.startswith("<s>") else []
    assert frame(base.tokenizer) == (first, [EOS] if added.endswith("</s>") else [])
    (row,) = tokenise(base, [QUESTION], 64)
    assert row["input_ids"] == [*first, ANSWER, COLON, A, EOS]
    (row,) = tokenise(base, [Example("q", "Answer:", " A</s>")], 64)
    assert row["input_ids"] == [*first, ANSWER, COLON, A, EOS], "the text brings its own"
    assert encode_prompts(base, ["Answer:", "<s> Answer:"])[0] == [*first, ANSWER, COLON]
    assert encode_prompts(base, ["<s>Answer:"])[0].count(BOS) == 1
    assert encode_prompts(base, ["Answer:"], ended=True)[0] == base.tokenizer("Answer:").input_ids
    assert start_of_text(base) == [BOS]


def test_what_is_cut_from_the_left_keeps_its_bos():
    base = pieces_base("<s> $A")
    long = Example("q", "Answer: B B B B Answer:", " A")
    rows = tokenise(base, [long, QUESTION], 5)
    assert rows[0] == {"input_ids": [BOS, ANSWER, COLON, A, EOS], "labels": [-100] * 3 + [A, EOS]}
    assert rows.cut == {"prompt_start": 1}
    assert encode_prompts(base, [long.prompt], 3) == [[BOS, ANSWER, COLON]]
    rows = windows([BOS, *range(10, 20)], [*range(20, 30)], 8, 1)
    assert all(row["input_ids"][0] == BOS and len(row["input_ids"]) <= 8 for row in rows)
    assert [label for row in rows for label in row["labels"] if label != -100] == [*range(20, 30)]


def test_a_tokenizer_without_an_end_of_text_has_none_to_learn():
    base = pieces_base(eos=None)
    (row,) = tokenise(base, [QUESTION], 64)
    assert row["input_ids"] == [ANSWER, COLON, A]
    base.tokenizer.bos_token = None
    assert start_of_text(base) == []


def test_a_padding_outside_the_embedding_is_not_looked_up():
    base = pieces_base()
    base.tokenizer.add_special_tokens({"pad_token": "<filler>"})
    base.model.resize_token_embeddings(base.tokenizer.pad_token_id)  # one too few
    batch = to_batch(base, tokenise(base, [QUESTION, Example("q", "Answer: B B:", " A")], 64))
    assert torch.isfinite(base.model(**batch).loss)


def test_what_is_cut_is_counted_row_by_row(base):
    long, asked = Example("x", "1+2=", "0123456789"), Example("x", "", "0123456789")
    rows = tokenise(base, [long] * 8, 8)
    assert rows.cut == {"prompt+answer_end": 8}
    assert cut_words(rows.cut, 8) == "8 of 8 rows lost their prompt and the end of their answer"
    rows = tokenise(
        base, [long, asked, Example("x", "1+2=", "3"), Example("x", "1+2=1+2=", "123"), Example("x", "1", "7 chars")], 8
    )
    assert rows.cut == {"prompt+answer_end": 1, "answer_end": 1, "prompt_start": 1, "prompt": 1}
    assert cut_words({"prompt_start": 1}, 4) == "1 of 4 rows lost the beginning of their prompt"
    assert cut_words({}, 4) == ""
    rows = tokenise(tiny_t5(), [Example("x", "1+2=1+2=1+2=", "0123456789")], 8)
    assert rows.cut == {"prompt_start+answer_end": 1}
    assert cut_words(rows.cut, 1) == "1 of 1 rows lost the beginning of their prompt and the end of their answer"
