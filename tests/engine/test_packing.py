"""Packed rows are their documents, each as if it were alone: its tokens, its loss, its gradient."""

import pytest
import torch

from tests.training.conftest import sums, tiny_base
from yosegi.bases import load
from yosegi.engine.packing import keeps_apart, pack
from yosegi.engine.rows import collate, tokenise
from yosegi.errors import Invalid
from yosegi.objectives import IGNORED
from yosegi.objectives.lm import lm
from yosegi.objectives.sft import sft
from yosegi.tasks import load as load_task

SIZE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
OBJECTIVES = {"lm": lm, "sft": sft}


def document(*ids):
    return {"input_ids": list(ids), "labels": list(ids)}


def pieces(rows):
    """(ids, labels) of every document, or part of one, in order."""
    for row in rows:
        places = row["position_ids"]
        starts = [i for i, place in enumerate(places) if place == 0]
        for start, end in zip(starts, [*starts[1:], len(places)], strict=True):
            assert places[start:end] == list(range(end - start))
            yield row["input_ids"][start:end], row["labels"][start:end]


def test_documents_stand_end_to_end_and_long_ones_go_on_in_the_next_row():
    rows = pack([document(1, 2, 3), document(4), document(*range(5, 14))], 4)
    assert [row["input_ids"] for row in rows] == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12], [13]]
    assert rows[0]["position_ids"] == [0, 1, 2, 0] and rows[0]["labels"] == [IGNORED, 2, 3, IGNORED]
    assert rows[1]["labels"] == [IGNORED, 6, 7, 8]
    assert pack([], 4) == [] == pack([document()], 4)
    with pytest.raises(Invalid, match="1 token has nothing to predict"):
        pack([document(1, 2)], 1)


@pytest.mark.parametrize("length", [2, 7, 64, 10_000])
def test_every_token_that_goes_in_comes_out(length):
    torch.manual_seed(length)
    documents = [document(*torch.randint(3, 99, (size,)).tolist()) for size in (5, 1, 90, 2, 64, 7, 300, 1)]
    rows = pack(documents, length)
    assert [i for row in rows for i in row["input_ids"]] == [i for d in documents for i in d["input_ids"]]
    assert [len(row["input_ids"]) for row in rows[:-1]] == [length] * (len(rows) - 1)
    for ids, labels in pieces(rows):
        assert labels == [IGNORED, *ids[1:]]


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("objective", ["lm", "sft"])
def test_a_row_is_its_documents_alone_loss_and_gradient(attention, objective):
    base, minimise = tiny_base(), OBJECTIVES[objective]
    base.model.set_attn_implementation(attention)
    rows = pack(tokenise(base, sums()[:9], 64, objective), 16)  # the last row is short: it is padded
    assert len(rows) > 2 and len(rows[-1]["input_ids"]) < 16
    batch = collate(0)(rows)
    packed = minimise(base.model, batch, 1)
    packed.backward()
    together = {name: p.grad.clone() for name, p in base.model.named_parameters()}
    base.model.zero_grad()
    alone = torch.zeros(())
    for ids, labels in pieces(rows):
        one = {
            "input_ids": torch.tensor([ids]),
            "attention_mask": torch.ones(1, len(ids)),
            "labels": torch.tensor([labels]),
        }
        loss = minimise(base.model, one, 1)
        loss.backward()
        alone += loss.detach()
    torch.testing.assert_close(packed.detach(), alone, rtol=1e-5, atol=1e-5)
    for name, p in base.model.named_parameters():
        torch.testing.assert_close(together[name], p.grad, rtol=1e-4, atol=1e-5)
    blind = minimise(base.model, {key: value for key, value in batch.items() if key != "position_ids"}, 1)
    assert abs(blind - alone) > 1e-3, "and the difference is one that would be seen"


def made(architecture, **settings):
    """A small random model of one of transformers' architectures."""
    import transformers

    config = getattr(transformers, f"{architecture}Config")(vocab_size=50, **settings)
    return transformers.AutoModelForCausalLM.from_config(config)


@pytest.mark.parametrize(
    "architecture, settings",
    [
        ("GPT2", {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "bos_token_id": 0, "eos_token_id": 1}),
        ("Mistral", {**SIZE, "intermediate_size": 64, "num_key_value_heads": 2, "sliding_window": 4}),
    ],
)
def test_models_that_keep_documents_apart(architecture, settings):
    torch.manual_seed(0)
    one = made(architecture, **settings).train()
    assert keeps_apart(one) and one.training
    ids = torch.randint(3, 50, (2, 12))
    places = torch.tensor([[*range(5), *range(7)]] * 2)
    row = one.eval()(input_ids=ids, position_ids=places, use_cache=False).logits
    torch.testing.assert_close(row[:, 5:], one(input_ids=ids[:, 5:]).logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "architecture, settings",
    [
        ("Mamba", {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4}),
        ("OPT", {**SIZE, "ffn_dim": 64, "max_position_embeddings": 64, "word_embed_proj_dim": 32}),
    ],
)
def test_models_that_do_not_are_found_out(architecture, settings):
    torch.manual_seed(0)
    assert not keeps_apart(made(architecture, **settings))


def test_the_embedded_base_keeps_them_apart():
    assert keeps_apart(load("nano").model)


@pytest.mark.data
def test_a_real_corpus_loses_nothing():
    base, documents = load("nano"), load_task("corpus/ja_railway_law").documents("train")
    tokens = tokenise(base, documents, 10**9, "lm")
    rows = pack(tokens, 256)
    assert len(documents) == 64 and sum(len(d.target) for d in documents) > 300_000
    assert sum(len(row["input_ids"]) for row in rows) == sum(len(row["input_ids"]) for row in tokens)
    assert {len(row["input_ids"]) for row in rows[:-1]} == {256}
    some = rows[:2]
    packed = lm(base.model, collate(base.tokenizer.pad_token_id)(some), 1).item()
    alone = 0.0
    for ids, labels in pieces(some):
        one = {
            "input_ids": torch.tensor([ids]),
            "attention_mask": torch.ones(1, len(ids)),
            "labels": torch.tensor([labels]),
        }
        alone += lm(base.model, one, 1).item()
    assert packed == pytest.approx(alone, rel=1e-4)
