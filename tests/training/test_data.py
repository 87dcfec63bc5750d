"""From examples to the rows a learner reads and their counts, from the rows of a step to passes."""

import pytest
import torch

from tests.training.conftest import sums, tiny_base, tiny_t5
from yosegi.bases import Base
from yosegi.engine.rows import tokenise
from yosegi.errors import Invalid
from yosegi.run import Run
from yosegi.tasks import subset
from yosegi.training.data import Place, passes, read, steps_of, total
from yosegi.training.job import Job
from yosegi.training.settings import Settings

PACKED = Settings(objective="lm", pack=16)


def test_without_packing_a_row_is_an_example(base, tmp_path, capsys):
    data = read(base, sums(), Settings(limit=7, max_length=5))
    assert data.rows == tokenise(base, subset(sums(), 7), 5) != tokenise(base, sums()[:7], 5), "from all of them"
    characters = sum(len(example.prompt + example.target) for example in subset(sums(), 7))
    counts = {"examples": 7, "characters": characters, "rows": 7, "tokens_in_rows": 7 * 5, "cut": {"prompt_start": 7}}
    assert data.counts == counts
    Job(base, Run(tmp_path), Settings(max_length=7)).read({"all": sums()})
    assert not capsys.readouterr().err
    Job(base, Run(tmp_path), Settings(limit=5, max_length=5)).read({"a": sums()[:7], "b": sums()[90:]})
    warning = capsys.readouterr().err
    assert warning == "Warning: 10 of 10 rows lost the beginning of their prompt (max_length=5).\n"


def test_packed_rows_are_counted_and_nothing_is_cut_off(base):
    data = read(base, sums()[:9], PACKED.model_copy(update={"max_length": 2}))  # a row's length is that of the pack
    whole = tokenise(base, sums()[:9], 1000, "lm")
    tokens = sum(len(row["input_ids"]) for row in whole)
    assert data.counts == {
        "documents": 9, "characters": 9 * 5, "rows": -(-tokens // 16), "tokens_in_rows": tokens, "kept_apart": True,
    }  # fmt: skip
    assert [i for row in data.rows for i in row["input_ids"]] == [i for row in whole for i in row["input_ids"]]


def test_a_base_that_cannot_is_told_so_or_refused(tmp_path, capsys):
    from transformers import MambaConfig, MambaForCausalLM

    torch.manual_seed(0)
    config = MambaConfig(hidden_size=32, num_hidden_layers=1, vocab_size=30, state_size=4)
    recurrent = Base("mamba", "0" * 12, MambaForCausalLM(config).eval(), tiny_base().tokenizer)
    data = read(recurrent, sums()[:9], PACKED)
    Job(recurrent, Run(tmp_path), PACKED).read({"a": sums()[:9], "b": sums()[:9]})
    assert capsys.readouterr().err.count("cannot keep documents of one row apart") == 1
    assert data.counts["kept_apart"] is False
    assert all(set(row) == {"input_ids", "labels"} for row in data.rows), "then the model is not asked to"
    with pytest.raises(Invalid, match="encoder-decoder"):
        read(tiny_t5(), sums(), PACKED)
    with pytest.raises(Invalid, match="pack=129: tiny reads 128 tokens at a time"):
        read(tiny_base(), sums(), Settings(pack=129))
    with pytest.raises(Invalid, match="no examples"):
        read(tiny_base(), [], PACKED)


def test_several_datas_are_counted_together(base):
    one, other = read(base, sums()[:9], PACKED), read(base, sums()[9:30], PACKED)
    assert total([one, other])["documents"] == 30 and total([one, other])["kept_apart"] is True
    assert total([one, other])["rows"] == len(one.rows) + len(other.rows)


def test_passes_keep_the_budget_and_lose_nobody():
    places = [
        Place(length, g, row) for row, (length, g) in enumerate([(9, 0), (3, 1), (8, 1), (3, 0), (2, 2), (20, 2)])
    ]
    found = list(passes(places, 18))
    assert sorted(p for some in found for p in some) == sorted(places)
    for some in found:
        assert len(some) * max(p.length for p in some) <= 18 or len(some) == 1
        assert [p.learner for p in some] == sorted(p.learner for p in some)
    assert [p.length for p in found[0]] == [20], "too long for the budget, and yet read"
    assert list(passes(places, 10**6)) == [sorted(places, key=lambda p: (p.learner, -p.length))]
    assert [len(some) for some in passes(places, 10**6, rows=4)] == [4, 2]


def test_equal_lengths_stay_with_their_learner():
    places = [Place(4, g, row) for g in range(3) for row in range(2)]
    assert [[p.learner for p in some] for some in passes(places, 16)] == [[0, 0, 1, 1], [2, 2]]


def test_steps():
    assert steps_of(100, Settings(num_train_epochs=2, per_device_train_batch_size=8)) == (25, 8)
    assert steps_of(
        7, Settings(num_train_epochs=0.5, per_device_train_batch_size=2, gradient_accumulation_steps=2)
    ) == (1, 4)
    assert steps_of(100, Settings(max_steps=3)) == (3, 16)
    few, some, many = (steps_of(rows, Settings(per_device_train_batch_size=16))[0] for rows in (60, 400, 10_000))
    assert (few, some, many) == (75, 100, 1875), "twenty passes; a hundred steps; three passes"
    assert steps_of(100, Settings(num_train_epochs=1, per_device_train_batch_size=5), processes=2) == (10, 10)
