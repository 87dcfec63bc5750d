"""Examples -> tokens -> batches."""

import pytest
import torch

from tests.training.conftest import sums, tiny_base
from yosegi.engine.rows import collate, data_hash, order, tokenise, tokens_by_step
from yosegi.errors import Invalid
from yosegi.tasks import Example


@pytest.fixture
def base():
    return tiny_base()


def test_only_the_answer_is_a_target(base):
    (row,) = tokenise([Example("x", "1+2=", "3")], base.tokenizer, 64)
    eos = base.tokenizer.eos_token_id
    assert row["input_ids"] == [*base.tokenizer("1+2=").input_ids, *base.tokenizer("3").input_ids, eos]
    assert row["labels"] == [-100] * 4 + row["input_ids"][4:]
    (row,) = tokenise([Example("x", "1+2=", "3")], base.tokenizer, 64, objective="lm")
    assert row["labels"] == row["input_ids"]
    (row,) = tokenise([Example("x", "1+2=", "3")], base.tokenizer, 64, seq2seq=True)
    assert row["input_ids"] == base.tokenizer("1+2=").input_ids and row["labels"][-1] == eos and len(row["labels"]) == 2


def test_a_long_prompt_loses_its_beginning_and_a_long_answer_its_end(base):
    (row,) = tokenise([Example("x", "abcdefgh=", "12")], base.tokenizer, 5)
    assert base.tokenizer.decode(row["input_ids"][:2]).replace(" ", "") == "h=" and len(row["input_ids"]) == 5
    (row,) = tokenise([Example("x", "ab=", "123456789")], base.tokenizer, 5)
    assert len(row["input_ids"]) == 5 and row["labels"] == row["input_ids"]


def test_nothing_to_learn_is_an_error(base):
    with pytest.raises(Invalid, match="no examples"):
        tokenise([], base.tokenizer, 8)


def test_the_order_is_shuffled_epochs_however_long_it_is_asked_for():
    long = order(10, 35, seed=3)
    assert [sorted(long[i : i + 10]) for i in (0, 10, 20)] == [list(range(10))] * 3
    assert order(10, 12, seed=3) == long[:12] != order(10, 12, seed=4)


def test_batches_are_padded_on_either_side():
    rows = [{"input_ids": [5, 6, 7], "labels": [-100, 6, 7]}, {"input_ids": [8], "labels": [8]}]
    right, left = collate(pad=0)(rows), collate(pad=0, right=False)(rows)
    assert right["input_ids"].tolist() == [[5, 6, 7], [8, 0, 0]] and right["labels"].tolist()[1] == [8, -100, -100]
    assert right["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert left["input_ids"].tolist() == [[5, 6, 7], [0, 0, 8]] and left["attention_mask"].tolist()[1] == [0, 0, 1]
    assert right["input_ids"].dtype == torch.long


def test_positions_are_padded_with_documents_of_their_own():
    rows = [{"input_ids": [5, 6, 7], "labels": [-100, 6, 7], "position_ids": [0, 1, 2]}]
    rows += [{"input_ids": [8], "labels": [-100], "position_ids": [0]}]
    assert collate(pad=0)(rows)["position_ids"].tolist() == [[0, 1, 2], [0, 0, 0]]


def test_tokens_are_counted_step_by_step():
    rows = [{"input_ids": [1] * size} for size in (3, 5, 7)]
    assert tokens_by_step(rows, [0, 1, 2, 2, 0], 2) == [0, 8, 22, 25]


def test_the_data_hash_knows_order_and_targets(base):
    rows = tokenise(sums(), base.tokenizer, 16)
    assert data_hash(rows) == data_hash(tokenise(sums(), base.tokenizer, 16)) != data_hash(rows[::-1])
    assert data_hash(rows) != data_hash(tokenise(sums(), base.tokenizer, 16, objective="lm"))
