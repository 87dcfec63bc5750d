"""A base is loaded whole or refused by name, and its hash is one of its tensors, wherever they lie."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from yosegi import bases
from yosegi.errors import Corrupt, NoData

NANO = Path(bases.locate("nano"))


@pytest.fixture
def folder(tmp_path):
    return Path(shutil.copytree(NANO, tmp_path / "base", ignore=shutil.ignore_patterns("__pycache__", "*.py")))


def rewrite(folder, change, **config):
    """Replaces the tensors of a folder by what `change` makes of them, and entries of its config."""
    save_file(change(load_file(folder / "model.safetensors")), folder / "model.safetensors", {"format": "pt"})
    old = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(old | config))


def shard(folder, parts=3):
    """The same tensors in several files and an index."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = {key: f"part-{i % parts}.safetensors" for i, key in enumerate(tensors)}
    for file in set(names.values()):
        save_file({key: value for key, value in tensors.items() if names[key] == file}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": names}))


def without(*parts):
    return lambda tensors: {key: value for key, value in tensors.items() if not any(part in key for part in parts)}


def test_every_tensor_is_what_transformers_reads():
    from transformers import AutoModelForCausalLM

    plain = AutoModelForCausalLM.from_pretrained(NANO, dtype=torch.float32)
    ours = bases.load("nano", device="cpu").model
    assert ours.state_dict().keys() == plain.state_dict().keys()
    assert all(torch.equal(value, plain.state_dict()[key]) for key, value in ours.state_dict().items())
    assert ours.get_input_embeddings().weight is ours.get_output_embeddings().weight  # tied
    assert ours.generation_config.to_dict() == plain.generation_config.to_dict()


@pytest.mark.parametrize(
    ("change", "config", "words"),
    [
        (lambda t: {f"_orig_mod.{key}": v for key, v in t.items()}, {}, ("model.embed_tokens.weight", "torch.compile")),
        (lambda t: {f"base_model.model.{key}": v for key, v in t.items()}, {}, ("33 more", "PEFT", "merge_and_unload")),
        (lambda t: {f"module.{key}": v for key, v in t.items()}, {}, ("33 more", "DataParallel")),
        (
            lambda t: {key.replace("q_proj.", "q_proj.base_layer."): v for key, v in t.items()},
            {},
            ("model.layers.0.self_attn.q_proj.weight", "model.layers.3.self_attn.q_proj.weight", "PEFT"),
        ),
        (
            without("layers.2.mlp"),
            {},
            tuple(f"model.layers.2.mlp.{part}_proj.weight" for part in ("gate", "up", "down")),
        ),
        (without("model.norm"), {}, ("lack model.norm.weight.",)),
        (lambda t: t, {"tie_word_embeddings": False}, ("lack lm_head.weight", "tie_word_embeddings")),
        (without("embed_tokens"), {}, ("model.embed_tokens.weight",)),
        (lambda t: {}, {}, ("and 33 more",)),
        (
            lambda t: t,
            {"intermediate_size": 300},
            ("model.layers.0.mlp.down_proj.weight [128, 320] instead of [128, 300]", "6 more"),
        ),
        (
            lambda t: t | {"model.norm.weight": t["model.norm.weight"].index_fill(0, torch.tensor([3]), torch.nan)},
            {},
            ("model.norm.weight", "finite"),
        ),
        (
            lambda t: t | {"model.norm.weight": t["model.norm.weight"].index_fill(0, torch.tensor([3]), -torch.inf)},
            {},
            ("model.norm.weight", "finite"),
        ),
    ],
)
@pytest.mark.parametrize("load_in_4bit", [False, True])
def test_weights_that_do_not_make_the_model_are_refused_by_name(folder, change, config, words, load_in_4bit):
    if load_in_4bit:
        pytest.importorskip("bitsandbytes", reason="bitsandbytes comes with yosegi-lora[quant] and yosegi-lora[dev]")
    rewrite(folder, change, **config)
    with pytest.raises(Corrupt, match="cannot be loaded") as error:
        bases.load(str(folder), load_in_4bit=load_in_4bit, device="cpu")
    message = str(error.value)
    assert str(folder) in message and "\n" not in message and len(message) < 700
    for word in words:
        assert word in message


def test_an_own_head_is_taken_where_the_config_says_so(folder, capsys):
    def with_head(tensors):
        return tensors | {"lm_head.weight": tensors["model.embed_tokens.weight"] * 2}

    rewrite(folder, with_head, tie_word_embeddings=False)
    model = bases.load(str(folder), device="cpu").model
    torch.testing.assert_close(model.lm_head.weight, 2 * model.model.embed_tokens.weight)
    assert capsys.readouterr().err == ""


def test_a_tensor_without_a_place_is_said_and_left_out(folder, capsys):
    rewrite(
        folder, lambda t: t | {"model.layers.0.self_attn.q_proj.bias": torch.ones(128), "score.weight": torch.ones(2)}
    )
    loaded = bases.load(str(folder), device="cpu")
    (line,) = capsys.readouterr().err.strip().split("\n")
    assert line.startswith("Warning: LlamaForCausalLM") and "q_proj.bias, score.weight" in line
    assert loaded.hash != bases.weights_hash(NANO)


def test_the_hash_is_one_of_the_tensors(folder):
    known = bases.weights_hash(NANO)
    rewrite(folder, lambda tensors: dict(reversed(tensors.items())))  # another order, another head of the file
    assert bases.weights_hash(folder) == known
    shard(folder)
    assert bases.weights_hash(folder) == bases.load(str(folder), device="cpu").hash == known
    shutil.copy(folder / "part-0.safetensors", folder / "part-9.safetensors")  # no index names it
    (folder / "other.safetensors").write_bytes(b"")
    assert bases.weights_hash(folder) == known


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t | {"model.norm.weight": t["model.norm.weight"] + 1},
        lambda t: t | {"model.norm.weight": t["model.norm.weight"].float()},
        lambda t: t | {"model.norm.weight": t["model.norm.weight"].view(2, 64)},
        lambda t: {key.replace("model.norm", "model.last"): v for key, v in t.items()},
        lambda t: t | {"empty": torch.zeros(0)},
        lambda t: t | {"scalar": torch.tensor(1.0)},
        without("layers.3"),
    ],
)
def test_the_hash_sees_every_difference(folder, change):
    rewrite(folder, change)
    assert bases.weights_hash(folder) != bases.weights_hash(NANO)


def test_the_hash_sees_which_tensor_has_which_name(folder):
    first, second = "model.layers.0.self_attn.q_proj.weight", "model.layers.0.self_attn.o_proj.weight"
    rewrite(folder, lambda t: t | {first: t[second], second: t[first]})
    assert bases.weights_hash(folder) != bases.weights_hash(NANO)


def test_an_adapter_and_other_files_in_the_folder_change_nothing(folder):
    peft = pytest.importorskip("peft")
    model = bases.load(str(folder), device="cpu").model
    adapted = peft.get_peft_model(model, peft.LoraConfig(target_modules=["q_proj"], init_lora_weights=False))
    adapted.save_pretrained(folder)
    for name in ("adapter.safetensors", "model.fp16.safetensors", "consolidated.safetensors", "optimizer.pt"):
        (folder / name).write_bytes(b"stray")
    assert (folder / "adapter_config.json").is_file() and (folder / "adapter_model.safetensors").is_file()
    loaded, plain = bases.load(str(folder), device="cpu"), bases.load("nano", device="cpu")
    assert loaded.hash == plain.hash
    assert loaded.model.state_dict().keys() == plain.model.state_dict().keys()
    ids = torch.tensor([[5, 6, 7]])
    assert torch.equal(loaded.model(ids).logits, plain.model(ids).logits)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (
            lambda f: (f / "part-1.safetensors").unlink(),
            "part-1.safetensors of its model.safetensors.index.json is not",
        ),
        (lambda f: (f / "model.safetensors.index.json").write_text("[]"), "is no index of weights"),
        (
            lambda f: (f / "model.safetensors.index.json").write_text('{"weight_map": {"a": 3}}'),
            "is no index of weights",
        ),
        (lambda f: (f / "model.safetensors.index.json").write_text('{"weight_map": {}}'), "is no index of weights"),
        (lambda f: (f / "model.safetensors.index.json").unlink(), "is not read"),
        (lambda f: (f / "part-2.safetensors").write_bytes(b""), "cannot be loaded"),
        (lambda f: (f / "part-2.safetensors").write_bytes(b"\xff" * 64), "cannot be loaded"),
    ],
)
def test_a_broken_set_of_shards_is_one_line(folder, spoil, words):
    shard(folder)
    spoil(folder)
    with pytest.raises(Corrupt) as error:
        bases.load(str(folder), device="cpu")
    assert words in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(Corrupt):
        bases.weights_hash(folder)


def test_a_folder_of_an_adapter_alone_is_no_base(folder):
    (folder / "model.safetensors").unlink()
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(NANO)}))
    with pytest.raises(Corrupt, match="holds a PEFT adapter, not a model"):
        bases.load(str(folder))


def test_a_file_is_read_for_its_hash_once(folder, monkeypatch):
    known = bases.weights_hash(folder)
    monkeypatch.setattr("yosegi.bases._weights.os.pread", lambda *_, **__: pytest.fail("read again"))
    assert bases.weights_hash(folder) == known


def test_links_are_followed_as_the_cache_of_the_hub_needs_it(folder, tmp_path):
    linked = tmp_path / "snapshot"
    linked.mkdir()
    for file in folder.iterdir():
        (linked / file.name).symlink_to(file)
    assert bases.load(str(linked), device="cpu").hash == bases.weights_hash(NANO)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Puts files into an empty cache of the Hub, from which alone models come."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    def put(name, source, *files):
        repository = tmp_path / "hub" / f"models--{name.replace('/', '--')}"
        snapshot = repository / "snapshots" / ("a" * 40)
        for folder in (repository / "refs", repository / "blobs", snapshot):
            folder.mkdir(parents=True, exist_ok=True)
        (repository / "refs" / "main").write_text("a" * 40)
        for file in files:
            shutil.copy(source / file, repository / "blobs" / file)
            (snapshot / file).symlink_to(repository / "blobs" / file)

    return put


def test_a_base_of_the_hub_is_read_from_its_cache_and_only_what_is_needed(hub, folder):
    shard(folder)
    (folder / "adapter_model.safetensors").write_bytes(b"stray")
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "x/y", "peft_type": "LORA"}))
    hub("some/model", folder, *(file.name for file in folder.iterdir()))
    base = bases.load("some/model", device="cpu")
    assert base.name == "some/model" and base.hash == bases.weights_hash("some/model") == bases.weights_hash(NANO)


def test_half_a_base_of_the_hub_says_how_to_fetch_the_rest(hub, folder):
    hub("some/half", folder, "config.json", "tokenizer.json", "tokenizer_config.json")
    with pytest.raises(
        NoData, match=r"'some/half' .* \(hf download 'some/half'\): .* has no model.safetensors"
    ) as error:
        bases.load("some/half")
    assert "\n" not in str(error.value)


def test_a_base_that_was_saved_in_4_bits_stays_in_them_and_trains(folder):
    pytest.importorskip("bitsandbytes", reason="bitsandbytes comes with yosegi-lora[quant] and yosegi-lora[dev]")
    packed = bases.load("nano", load_in_4bit=True, device="cpu")
    packed.model.save_pretrained(folder)
    for load_in_4bit in (False, True):
        again = bases.load(str(folder), load_in_4bit=load_in_4bit, device="cpu")
        assert again.dtype == "4bit" and again.hash != packed.hash  # other tensors
        x_I = torch.ones(1, 128, requires_grad=True)
        linear = again.model.get_submodule("model.layers.0.self_attn.q_proj")
        with torch.no_grad():
            linear(x_I.detach())
        linear(x_I).sum().backward()
        assert x_I.grad is not None and x_I.grad.any()
        assert torch.equal(linear(x_I), packed.model.get_submodule("model.layers.0.self_attn.q_proj")(x_I))
