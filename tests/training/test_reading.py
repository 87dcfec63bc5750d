"""From examples to the rows a learner reads, and what its card says of them."""

import pytest
import torch

from tests.training.conftest import sums, tiny_base, tiny_t5
from yosegi.bases import Base
from yosegi.engine.rows import tokenise
from yosegi.errors import Invalid
from yosegi.training.reading import read, total, warn
from yosegi.training.settings import Settings

PACKED = Settings(objective="lm", pack=16)


def test_without_packing_a_row_is_an_example(base, capsys):
    reading = read(base, sums(), Settings(limit=7, max_length=5))
    assert reading.rows == tokenise(base, sums()[:7], 5)
    counts = {"examples": 7, "characters": 7 * 5, "rows": 7, "tokens_in_rows": 7 * 5, "cut": {"prompt_start": 7}}
    assert reading.counts == counts
    warn([reading, read(base, sums()[:3], Settings(max_length=6))], Settings(max_length=5))
    warning = capsys.readouterr().err
    assert warning == "Warning: 7 of 10 rows lost the beginning of their prompt (max_length=5).\n"


def test_packed_rows_are_counted_and_nothing_is_cut_off(base):
    reading = read(base, sums()[:9], PACKED.model_copy(update={"max_length": 2}))  # a row's length is that of the pack
    whole = tokenise(base, sums()[:9], 1000, "lm")
    tokens = sum(len(row["input_ids"]) for row in whole)
    assert reading.counts == {
        "documents": 9, "characters": 9 * 5, "rows": -(-tokens // 16), "tokens_in_rows": tokens, "kept_apart": True,
    }  # fmt: skip
    assert [i for row in reading.rows for i in row["input_ids"]] == [i for row in whole for i in row["input_ids"]]


def test_a_base_that_cannot_is_told_so_or_refused(capsys):
    from transformers import MambaConfig, MambaForCausalLM

    torch.manual_seed(0)
    config = MambaConfig(hidden_size=32, num_hidden_layers=1, vocab_size=30, state_size=4)
    recurrent = Base("mamba", "0" * 12, MambaForCausalLM(config).eval(), tiny_base().tokenizer)
    reading = read(recurrent, sums()[:9], PACKED)
    warn([reading, reading], PACKED)
    assert capsys.readouterr().err.count("cannot keep documents of one row apart") == 1
    assert reading.counts["kept_apart"] is False
    assert all(set(row) == {"input_ids", "labels"} for row in reading.rows), "then the model is not asked to"
    with pytest.raises(Invalid, match="encoder-decoder"):
        read(tiny_t5(), sums(), PACKED)
    with pytest.raises(Invalid, match="pack=129: tiny reads 128 tokens at a time"):
        read(tiny_base(), sums(), Settings(pack=129))
    with pytest.raises(Invalid, match="no examples"):
        read(tiny_base(), [], PACKED)


def test_several_readings_are_counted_together(base):
    one, other = read(base, sums()[:9], PACKED), read(base, sums()[9:30], PACKED)
    assert total([one, other])["documents"] == 30 and total([one, other])["kept_apart"] is True
    assert total([one, other])["rows"] == len(one.rows) + len(other.rows)
