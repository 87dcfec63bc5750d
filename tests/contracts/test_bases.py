"""Every base of the drawer says where it lies; any other is a folder or an id, and a damaged one is named."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from yosegi import bases, registry
from yosegi.core.model import linears
from yosegi.errors import Corrupt, MissingExtra, NoData, UnknownName

BASES = registry.names("bases")


def test_the_drawer_was_walked():
    assert {"nano", "smollm2"} <= set(BASES)


@pytest.mark.parametrize("name", BASES)
def test_a_base_is_a_folder_or_says_how_to_get_it(name, monkeypatch, tmp_path):
    monkeypatch.setenv("YOSEGI_CACHE", str(tmp_path))
    try:
        assert (Path(bases.locate(name)) / "config.json").is_file()
    except NoData as error:
        assert "yosegi " in str(error) and "\n" not in str(error)


@pytest.fixture(scope="module")
def nano():
    return bases.load("nano")


def test_the_embedded_base(nano):
    assert nano.name == "nano" and not nano.seq2seq and not nano.model.training
    assert len(nano.hash) == 12 and int(nano.hash, 16) >= 0
    assert nano.tokenizer.pad_token_id is not None and nano.tokenizer.eos_token_id is not None
    ids = nano.tokenizer(["3+4=", "capital of Japan:"], padding=True, return_tensors="pt")
    logits = nano.model(input_ids=ids.input_ids, attention_mask=ids.attention_mask).logits
    assert logits.dtype == torch.float32 and logits.isfinite().all()
    for text in ("reverse upper abc:", "りんごが3個あります。", "print((2+3)*4)"):
        assert nano.tokenizer.decode(nano.tokenizer(text).input_ids) == text


@pytest.fixture
def copied(tmp_path):
    return Path(shutil.copytree(bases.locate("nano"), tmp_path / "base", ignore=shutil.ignore_patterns("__pycache__")))


def test_a_folder_is_a_base_and_its_hash_is_that_of_its_weights(nano, copied):
    there = bases.load(str(copied))
    assert there.hash == nano.hash  # wherever it lies
    (copied / "README.md").write_text("another story")
    assert bases.weights_hash(str(copied)) == nano.hash
    weights = copied / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert bases.weights_hash(str(copied)) != nano.hash


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_the_precision_in_memory_is_no_part_of_the_hash(nano, dtype):
    base = bases.load("nano", dtype)
    assert base.hash == nano.hash and base.dtype == dtype
    assert {p.dtype for p in base.model.parameters()} == {bases.DTYPES[dtype]}


def test_four_bits_are_held_and_the_hash_is_that_of_the_files(nano):
    pytest.importorskip("bitsandbytes", reason="bitsandbytes comes with yosegi-lora[quant] and yosegi-lora[dev]")
    base = bases.load("nano", load_in_4bit=True, device="cpu")
    assert base.hash == nano.hash and base.dtype == "4bit"
    inner = [base.model.get_submodule(name).weight for name in linears(base.model)]
    assert {p.dtype for p in inner} == {torch.uint8}
    ours = {id(p) for p in inner}
    assert {p.dtype for p in base.model.parameters() if id(p) not in ours} == {torch.float32}  # head, embeddings, norms
    assert all(p.numel() * 2 == 128 * 128 for p in inner[:4])  # two numbers in a byte


def test_four_bits_need_an_extra(monkeypatch):
    monkeypatch.setattr(bases, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install 'yosegi-lora\[quant\]'"):
        bases.load("nano", load_in_4bit=True)


def test_another_precision_is_refused():
    with pytest.raises(UnknownName, match="Did you mean 'bf16'"):
        bases.load("nano", "fp16")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:1000]),
        lambda f: (f / "model.safetensors").unlink(),
        lambda f: (f / "config.json").write_text("{"),
        lambda f: (f / "config.json").unlink(),
        lambda f: (f / "config.json").write_text(json.dumps({"model_type": "no_such_architecture"})),
        lambda f: (f / "tokenizer.json").write_text("{"),
    ],
)
def test_a_damaged_base_is_named_in_one_line(copied, spoil):
    spoil(copied)
    with pytest.raises(Corrupt, match="cannot be loaded") as error:
        bases.load(str(copied))
    assert str(copied) in str(error.value) and "\n" not in str(error.value)


def tokens(folder, **changes):
    """Changes special tokens of a folder's tokenizer."""
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(config | changes))


def test_a_tokenizer_without_an_end_is_refused_in_one_line(copied):
    tokens(copied, eos_token=None)
    with pytest.raises(Corrupt, match="has no end-of-text token: set eos_token in tokenizer_config.json") as error:
        bases.load(str(copied))
    assert "\n" not in str(error.value)


def test_a_token_to_pad_with_is_the_end_where_there_is_none(copied, capsys):
    tokens(copied, pad_token=None)
    tokenizer = bases.load(str(copied), device="cpu").tokenizer
    assert tokenizer.pad_token_id == tokenizer.eos_token_id == 1 and capsys.readouterr().err == ""


def test_a_token_to_pad_with_outside_the_embedding_is_replaced_and_said(copied, capsys):
    tokens(copied, pad_token="[PAD]")
    base = bases.load(str(copied), device="cpu")
    assert base.tokenizer.pad_token_id == base.tokenizer.eos_token_id == 1
    (line,) = capsys.readouterr().err.strip().split("\n")
    assert line.startswith("Warning: [PAD] is outside the 287 embeddings")
    batch = base.tokenizer(["3+4=", "capital of Japan:"], padding=True, return_tensors="pt")
    assert base.model(**batch).logits.isfinite().all()


def test_an_end_outside_the_embedding_is_refused(copied):
    tokens(copied, eos_token="[END]")
    with pytest.raises(Corrupt, match=r"does not fit: '\[END\]' is outside the 287 embeddings"):
        bases.load(str(copied))


def test_the_tokenizer_of_another_model_is_refused(copied):
    content = json.loads((copied / "tokenizer.json").read_text())
    content["model"]["vocab"]["strange"] = 287
    (copied / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(Corrupt, match="does not fit: 'strange' is outside the 287 embeddings"):
        bases.load(str(copied))


def test_a_pickle_is_never_read(copied):
    class Bomb:
        def __reduce__(self):
            return (Path.touch, (copied / "exploded",))

    import pickle

    (copied / "model.safetensors").unlink()
    (copied / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(Corrupt):
        bases.load(str(copied))
    assert not (copied / "exploded").exists()


def test_names_that_lead_nowhere():
    with pytest.raises(UnknownName, match="called 'nanno'. Did you mean 'nano'"):
        bases.load("nanno")
    with pytest.raises(NoData, match="'nobody/nothing' is no folder and could not be fetched") as error:
        bases.load("nobody/nothing")
    assert "\n" not in str(error.value)
    with pytest.raises(NoData, match="Repo id must use alphanumeric"):
        bases.load("nobody/nothing@main")


def test_a_small_base_is_computed_by_one_thread_unless_the_environment_says_otherwise(monkeypatch):
    before = torch.get_num_threads()
    try:
        for said, threads in (("2", 2), (None, 1)):
            torch.set_num_threads(2)
            monkeypatch.setenv("OMP_NUM_THREADS", said) if said else monkeypatch.delenv("OMP_NUM_THREADS")
            bases.load("nano", device="cpu")
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
