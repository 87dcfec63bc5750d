"""PEFT itself is the judge: what it writes says the same here, and what is written here says the same in PEFT."""

import copy
import json
import shutil

import pytest
import safetensors.torch
import torch

from yosegi import registry
from yosegi.core.expert import Expert, Factors
from yosegi.core.model import attach
from yosegi.errors import Corrupt, Invalid, NoData, Refused
from yosegi.inits import fresh
from yosegi.library.interchange import as_peft, read_peft, write_peft
from yosegi.routers.uniform import Uniform

WEIGHTS = "adapter_model.safetensors"


def inputs(model):
    ids = torch.randint(3, 100, (2, 9))
    return {"input_ids": ids, "decoder_input_ids": ids} if model.config.is_encoder_decoder else {"input_ids": ids}


@torch.no_grad()
def logits(model, x):
    return model(**x).logits


def ours(model, expert, x):
    banks = attach(model, [expert], Uniform())
    y = logits(model, x)
    banks.detach()
    return y


def theirs(model, folder, x):
    from peft import PeftModel

    return logits(PeftModel.from_pretrained(copy.deepcopy(model), folder).eval(), x)


def close(one, other):
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def differ(one, other):
    assert (one - other).abs().max() > 1e-2


@torch.no_grad()
def learn(model, size=0.1):
    """Move every LoRA factor, as training would."""
    for name, p in model.named_parameters():
        if "lora_" in name:
            p += size * torch.randn_like(p)


def peft_folder(model, folder, initial=None, **config):
    """A LoRA that PEFT made, taught and saved; returns the taught PEFT model."""
    from peft import LoraConfig, get_peft_model

    config = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "down_proj"], "task_type": "CAUSAL_LM"} | config
    taught = get_peft_model(copy.deepcopy(model), LoraConfig(**config)).eval()
    if initial is not None:
        keep, taught.peft_config["default"].init_lora_weights = taught.peft_config["default"].init_lora_weights, True
        taught.save_pretrained(initial)
        taught.peft_config["default"].init_lora_weights = keep
    learn(taught)
    taught.save_pretrained(folder)
    return taught


def edit(folder, **config):
    """Change fields of a saved config."""
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | config))


def edit_tensors(folder, change):
    tensors = safetensors.torch.load_file(folder / WEIGHTS)
    tensors = {k: v.clone() for k, v in tensors.items()}
    changed = change(tensors)
    tensors = changed if isinstance(changed, dict) else tensors
    safetensors.torch.save_file(tensors, folder / WEIGHTS)


# PEFT -> yosegi


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"use_rslora": True},
        {"init_lora_weights": "gaussian", "target_modules": "all-linear"},
        {"init_lora_weights": "orthogonal"},
        {"init_lora_weights": "mica"},
        {"init_lora_weights": False},
        {"target_modules": r".*\.(q|v)_proj"},
        {"target_modules": ["q_proj", "model.layers.1.mlp.up_proj"], "layers_to_transform": None},
        {"target_modules": ["q_proj", "v_proj"], "layers_to_transform": [1]},
        {"target_modules": "all-linear", "exclude_modules": ["q_proj"]},
        {"rank_pattern": {"q_proj": 2, "layers.1.mlp.down_proj": 7}},
        {"alpha_pattern": {"q_proj": 3.5, "model.layers.0.mlp.down_proj": 1}},
        {"rank_pattern": {r"layers\.\d+\.mlp\.down_proj": 3}, "alpha_pattern": {"^model.layers.0.self_attn.q_proj": 5}},
        {"rank_pattern": {"1.self_attn.q_proj": 5, "q_proj": 2}},  # the first pattern in the file that fits wins
        {"rank_pattern": {"q_proj": 3}, "alpha_pattern": {"down_proj": 9}, "use_rslora": True},
        {"rank_pattern": {"proj": 2, "_proj": 2}},  # an ending, but not a whole name: fits nothing
    ],
    ids=str,
)
def test_what_peft_wrote_says_the_same_here(llama, tmp_path, config):
    taught = peft_folder(llama, tmp_path / "a", **config)
    x = inputs(llama)
    expert = read_peft(tmp_path / "a", llama)
    close(ours(llama, expert, x), logits(taught, x))
    differ(logits(llama, x), logits(taught, x))
    assert expert.name == "a"

    write_peft(expert, tmp_path / "b")  # and round again, to the bit
    again = read_peft(tmp_path / "b", llama)
    close(theirs(llama, tmp_path / "b", x), logits(taught, x))
    assert again.factors.keys() == expert.factors.keys()
    for layer, f in expert.factors.items():
        assert torch.equal(f.A_RI, again.factors[layer].A_RI) and torch.equal(f.B_OR, again.factors[layer].B_OR)
        assert f.scale == pytest.approx(again.factors[layer].scale, rel=1e-15)


@pytest.mark.parametrize(
    ("model", "targets", "task"), [("t5", ["q", "wo"], "SEQ_2_SEQ_LM"), ("gpt2", ["c_attn", "c_fc"], "CAUSAL_LM")]
)
def test_encoder_decoders_and_transposed_linears_too(request, tmp_path, model, targets, task):
    model = request.getfixturevalue(model)
    taught = peft_folder(
        model, tmp_path / "a", target_modules=targets, task_type=task, fan_in_fan_out=targets == ["c_attn", "c_fc"]
    )
    x = inputs(model)
    expert = read_peft(tmp_path / "a", model)
    assert expert.card["task_type"] == task
    close(ours(model, expert, x), logits(taught, x))
    write_peft(expert, tmp_path / "b", task_type=task)
    close(theirs(model, tmp_path / "b", x), logits(taught, x))


@pytest.mark.parametrize("init", ["pissa", "pissa_niter_8", "olora"])
@pytest.mark.parametrize("place", ["argument", "initial", "method"])
def test_a_start_that_moved_the_base_is_subtracted_exactly(llama, tmp_path, init, place):
    start = (
        tmp_path / "a" / {"argument": "elsewhere", "initial": "initial", "method": f"{init.split('_')[0]}_init"}[place]
    )
    taught = peft_folder(llama, tmp_path / "a", initial=start, init_lora_weights=init)
    x = inputs(llama)
    expert = read_peft(tmp_path / "a", llama, initial=start if place == "argument" else None)
    assert expert.rank == 8 and expert.card["init"] == init
    close(ours(llama, expert, x), logits(taught, x))
    differ(logits(llama, x), logits(taught, x))


@pytest.mark.parametrize(
    "pattern", [{"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"down_proj": 3}}, {"use_rslora": True}], ids=str
)
def test_a_start_is_subtracted_layer_by_layer(llama, tmp_path, pattern):
    taught = peft_folder(
        llama, tmp_path / "a", initial=tmp_path / "a" / "initial", init_lora_weights="pissa", **pattern
    )
    x = inputs(llama)
    close(ours(llama, read_peft(tmp_path / "a", llama), x), logits(taught, x))


def test_what_peft_converted_itself_is_an_ordinary_adapter(llama, tmp_path):
    taught = peft_folder(llama, tmp_path / "a", initial=tmp_path / "start", init_lora_weights="pissa")
    x = inputs(llama)
    wanted = logits(taught, x)
    taught.save_pretrained(tmp_path / "b", path_initial_model_for_weight_conversion=str(tmp_path / "start"))
    expert = read_peft(tmp_path / "b", llama)
    assert expert.rank == 8
    close(ours(llama, expert, x), wanted)


def test_a_start_is_subtracted_when_asked_though_the_config_does_not_tell(llama, tmp_path):
    taught = peft_folder(llama, tmp_path / "a", initial=tmp_path / "start", init_lora_weights="pissa")
    edit(tmp_path / "a", init_lora_weights=True)  # forgotten after the start was saved, as PEFT's guide makes easy
    x = inputs(llama)
    close(ours(llama, read_peft(tmp_path / "a", llama, initial=tmp_path / "start"), x), logits(taught, x))
    differ(ours(llama, read_peft(tmp_path / "a", llama), x), logits(taught, x))


@pytest.mark.parametrize("init", ["pissa", "PiSSA_niter_4", "olora", "corda", "lora_ga"])
def test_without_its_start_it_is_refused(llama, tmp_path, init):
    peft_folder(llama, tmp_path / "a")
    edit(tmp_path / "a", init_lora_weights=init)
    with pytest.raises(Refused, match=f"init_lora_weights='{init}'.*subtracted from the base.*save_pretrained"):
        read_peft(tmp_path / "a")


def test_a_start_that_is_not_the_start_is_refused(llama, tmp_path):
    peft_folder(llama, tmp_path / "a", initial=tmp_path / "zero")  # kaiming: B = 0
    edit(tmp_path / "a", init_lora_weights="pissa")
    with pytest.raises(Refused, match="its B is zero"):
        read_peft(tmp_path / "a", initial=tmp_path / "zero")
    for name, config in {
        "rank": {"r": 2},
        "scale": {"lora_alpha": 9},
        "layers": {"target_modules": ["q_proj"]},
    }.items():
        peft_folder(llama, tmp_path / name, **config)
        with pytest.raises(Refused, match="is not where .* began: layer model.layers"):
            read_peft(tmp_path / "a", initial=tmp_path / name)
    with pytest.raises(NoData, match="no adapter in .*nowhere"):
        read_peft(tmp_path / "a", initial=tmp_path / "nowhere")


def test_other_precisions_keep_theirs(llama, tmp_path):
    for dtype in (torch.bfloat16, torch.float16, torch.float64):
        peft_folder(llama.to(torch.float32), tmp_path / str(dtype))
        edit_tensors(tmp_path / str(dtype), lambda tensors, dtype=dtype: {k: v.to(dtype) for k, v in tensors.items()})
        expert = read_peft(tmp_path / str(dtype), llama)
        assert all(f.A_RI.dtype == f.B_OR.dtype == dtype for f in expert.factors.values())
        x = inputs(llama)
        close(ours(llama, expert, x), theirs(llama, tmp_path / str(dtype), x))


# Refused by name


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"use_dora": True}, "use_dora=True: DoRA"),
        ({"bias": "lora_only"}, "bias='lora_only'"),
        ({"lora_bias": True}, "lora_bias=True"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save="),
        ({"trainable_token_indices": [1, 2]}, "trainable_token_indices="),
        ({"target_parameters": ["mlp.experts.gate_up_proj"]}, "target_parameters="),
        ({"layer_replication": [[0, 2], [1, 2]]}, "layer_replication="),
        ({"alora_invocation_tokens": [5]}, "alora_invocation_tokens="),
        ({"arrow_config": {"top_k": 2}}, "arrow_config="),
        ({"kasa_config": {"beta": 1}}, "kasa_config="),
        ({"from_the_future": 1}, "from_the_future=1: yosegi does not know"),
        ({"peft_type": "LOHA"}, "peft_type='LOHA'"),
        ({"peft_type": None}, "peft_type=None"),
        ({"init_lora_weights": "loftq"}, "init_lora_weights='loftq'.*quantised"),
        ({"init_lora_weights": "from_the_future"}, "init_lora_weights='from_the_future'"),
        ({"r": 0}, "r=0"),
        ({"r": "4"}, "r='4'"),
        ({"r": True}, "r=True"),
        ({"lora_alpha": None}, "lora_alpha=None"),
        ({"lora_alpha": float("nan")}, "lora_alpha=nan"),
        ({"rank_pattern": {"q_proj": -1}}, "rank_pattern="),
        ({"rank_pattern": [3]}, "rank_pattern="),
        ({"alpha_pattern": {"q_proj": "x"}}, "alpha_pattern="),
        ({"alpha_pattern": {"q_proj(": 1}}, "alpha_pattern .*not a regular expression"),
        ({"target_modules": "q_proj("}, "target_modules .*not a regular expression"),
        (
            {"target_modules": ["q_proj"]},
            r"has factors for layer model.layers.0.mlp.down_proj, which .*target_modules does not name",
        ),
        ({"r": 5}, r"lora_A.weight is \[4, \d+\]; the config says \[5, in\]"),
    ],
    ids=str,
)
def test_a_config_that_says_more_than_b_a_is_refused(llama, tmp_path, config, says):
    peft_folder(llama, tmp_path / "a")
    read_peft(tmp_path / "a", llama)
    edit(tmp_path / "a", **config)
    with pytest.raises(Refused, match=says) as error:
        read_peft(tmp_path / "a", llama)
    assert str(tmp_path / "a") in str(error.value)


def test_real_ones_of_peft_are_refused(llama, tmp_path):
    from peft import IA3Config, LoHaConfig, LoraConfig, get_peft_model

    kinds = {
        "use_dora": LoraConfig(use_dora=True, target_modules=["q_proj"], task_type="CAUSAL_LM"),
        "lora_bias": LoraConfig(lora_bias=True, target_modules=["q_proj"], task_type="CAUSAL_LM"),
        "modules_to_save": LoraConfig(modules_to_save=["lm_head"], target_modules=["q_proj"], task_type="CAUSAL_LM"),
        "lora_embedding_": LoraConfig(target_modules=["embed_tokens"], task_type="CAUSAL_LM"),
        "LOHA": LoHaConfig(target_modules=["q_proj"], task_type="CAUSAL_LM"),
        "IA3": IA3Config(target_modules=["v_proj"], feedforward_modules=[], task_type="CAUSAL_LM"),
    }
    for says, config in kinds.items():
        get_peft_model(copy.deepcopy(llama), config).save_pretrained(tmp_path / says, save_embedding_layers=False)
        with pytest.raises(Refused, match=says):
            read_peft(tmp_path / says, llama)


QUERY = "base_model.model.model.layers.0.self_attn.q_proj.lora_"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t.pop(QUERY + "B.weight"), "q_proj.lora_B.weight is missing"),
        (lambda t: t.pop(QUERY + "A.weight"), "q_proj.lora_A.weight is missing"),
        (lambda t: t[QUERY + "A.weight"].fill_(float("nan")), "q_proj.lora_A.weight holds NaN or infinity"),
        (lambda t: t[QUERY + "B.weight"][0].fill_(float("inf")), "q_proj.lora_B.weight holds NaN or infinity"),
        (
            lambda t: t.update({QUERY + "A.weight": torch.ones(4, 63)}),
            "q_proj do not fit this base's linear of 64 inputs",
        ),
        (lambda t: t.update({QUERY + "B.weight": torch.ones(65, 4)}), "q_proj do not fit this base's linear"),
        (
            lambda t: t.update({QUERY + "B.weight": torch.ones(64, 3)}),
            r"q_proj.lora_B.weight is \[64, 3\]; the config says \[out, 4\]",
        ),
        (lambda t: t.update({QUERY + "A.weight": torch.ones(4, 64, 1, 1)}), r"q_proj.lora_A.weight is \[4, 64, 1, 1\]"),
        (lambda t: t.update({QUERY + "A.weight": torch.ones(4, 64).int()}), "q_proj.lora_A.weight is of torch.int32"),
        (lambda t: t.update({QUERY + "magnitude_vector": torch.ones(64)}), "magnitude of DoRA"),
        (lambda t: t.update({QUERY + "B.bias": torch.ones(64)}), "a bias"),
        (lambda t: t.update({QUERY + "A.default.weight": torch.ones(4, 64)}), "which is not a LoRA factor"),
        (lambda t: t.update({"../../etc/passwd": torch.ones(1)}), "holds ../../etc/passwd, which is not a LoRA factor"),
        (lambda t: {k.replace("q_proj", "r_proj"): v for k, v in t.items()}, "layer model.layers.0.self_attn.r_proj"),
        (lambda t: {"base_model.model.lm_head.weight": torch.ones(101, 64)}, "a weight of the base"),
    ],
)
def test_tensors_that_cannot_be_are_refused_by_name(llama, tmp_path, change, says):
    peft_folder(llama, tmp_path / "a")
    read_peft(tmp_path / "a", llama)
    edit_tensors(tmp_path / "a", change)
    with pytest.raises(Refused, match=says) as error:
        read_peft(tmp_path / "a", llama)
    assert str(tmp_path / "a" / WEIGHTS) in str(error.value)


def test_patterns_that_peft_itself_shuffled_are_refused(llama, tmp_path):
    """PEFT sorts the patterns when it saves them, so that another one may fit first; it cannot load this either."""
    peft_folder(llama, tmp_path / "a", rank_pattern={"q_proj": 2, "1.self_attn.q_proj": 5})
    with pytest.raises(RuntimeError, match="size mismatch"):
        theirs(llama, tmp_path / "a", inputs(llama))
    with pytest.raises(Refused, match=r"1.self_attn.q_proj.lora_A.weight is \[2, 64\]; the config says \[5, in\]"):
        read_peft(tmp_path / "a", llama)


def test_layers_the_base_does_not_have_are_refused(llama, gpt2, tmp_path):
    peft_folder(llama, tmp_path / "a")
    with pytest.raises(Refused, match="this base has no such linear"):
        read_peft(tmp_path / "a", gpt2)
    read_peft(tmp_path / "a")  # nobody asked which base


def test_an_empty_adapter_is_refused(llama, tmp_path):
    peft_folder(llama, tmp_path / "a")
    safetensors.torch.save_file({}, tmp_path / "a" / WEIGHTS)
    with pytest.raises(Refused, match="holds no LoRA factors"):
        read_peft(tmp_path / "a")


def test_copies_of_the_bases_own_weights_are_compared(llama, tmp_path):
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(target_modules=["q_proj", "lm_head"], r=4, task_type="CAUSAL_LM")
    taught = get_peft_model(copy.deepcopy(llama), config).eval()
    learn(taught)
    taught.save_pretrained(tmp_path / "a", save_embedding_layers=True)
    assert any("base_layer" in k for k in safetensors.torch.load_file(tmp_path / "a" / WEIGHTS))
    x = inputs(llama)
    expert = read_peft(tmp_path / "a", llama)
    assert "lm_head" in expert.factors
    close(ours(llama, expert, x), logits(taught, x))
    write_peft(expert, tmp_path / "b")
    close(theirs(llama, tmp_path / "b", x), logits(taught, x))
    with pytest.raises(Refused, match="a weight of the base.*save_embedding_layers=False"):
        read_peft(tmp_path / "a")
    with torch.no_grad():
        llama.lm_head.weight[0, 0] += 1
    with pytest.raises(Refused, match="a weight of the base"):
        read_peft(tmp_path / "a", llama)


def test_a_copy_of_a_tied_head_is_compared_under_its_second_name(tmp_path):
    """`named_parameters` lists a tied weight once, as the embedding; PEFT stores it as the head."""
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2}
    tied = LlamaForCausalLM(LlamaConfig(vocab_size=101, tie_word_embeddings=True, **sizes)).eval()
    assert "lm_head.weight" not in dict(tied.named_parameters())
    taught = get_peft_model(
        copy.deepcopy(tied), LoraConfig(target_modules=["q_proj", "lm_head"], task_type="CAUSAL_LM")
    )
    learn(taught.eval())
    taught.save_pretrained(tmp_path / "a", save_embedding_layers=True)
    copied = "base_model.model.lm_head.base_layer.weight"
    assert torch.equal(safetensors.torch.load_file(tmp_path / "a" / WEIGHTS)[copied], tied.lm_head.weight)
    x = inputs(tied)
    expert = read_peft(tmp_path / "a", tied)
    assert "lm_head" in expert.factors
    close(ours(tied, expert, x), logits(taught, x))
    edit_tensors(tmp_path / "a", lambda t: t[copied][0].add_(1))
    with pytest.raises(Refused, match="lm_head.base_layer.weight, a weight of the base, but not as it is in this base"):
        read_peft(tmp_path / "a", tied)


def test_a_pickle_is_not_read(llama, tmp_path):
    peft_folder(llama, tmp_path / "a")
    weights = safetensors.torch.load_file(tmp_path / "a" / WEIGHTS)
    (tmp_path / "a" / WEIGHTS).unlink()
    torch.save(weights, tmp_path / "a" / "adapter_model.bin")
    with pytest.raises(Refused, match="adapter_model.bin is a pickle.*safe_serialization=True"):
        read_peft(tmp_path / "a")


def test_damaged_and_missing_files_are_named(llama, tmp_path):
    with pytest.raises(NoData, match="no adapter in .*nowhere"):
        read_peft(tmp_path / "nowhere")
    peft_folder(llama, tmp_path / "a")
    for file in (WEIGHTS, "adapter_config.json"):
        shutil.copytree(tmp_path / "a", tmp_path / file)
        path = tmp_path / file / file
        path.write_bytes(path.read_bytes()[:-100])
        with pytest.raises(Corrupt, match=f"{file} is not"):
            read_peft(tmp_path / file)
    (tmp_path / "a" / WEIGHTS).unlink()
    with pytest.raises(NoData, match=f"{WEIGHTS} is missing"):
        read_peft(tmp_path / "a")


# yosegi -> PEFT


def trained(model, inits, **arguments):
    """An expert of each initialiser, trained as `train` would: attached, origin stored, moved, detached."""
    banks = attach(model, [fresh(model, init, init=init, **arguments) for init in inits], Uniform())
    for bank in banks.values():
        bank.set_origin()
        with torch.no_grad():
            bank.A_ERI += 0.05 * torch.randn_like(bank.A_ERI)
            bank.B_EOR += 0.05 * torch.randn_like(bank.B_EOR)
    return banks


@pytest.mark.parametrize("init", registry.names("inits"))
def test_every_initialiser_says_the_same_in_peft(any_model, tmp_path, init):
    x = inputs(any_model)
    base = logits(any_model, x)
    banks = trained(any_model, [init], rank=4, alpha=6)
    wanted = logits(any_model, x)
    (expert,) = banks.experts()
    banks.detach()
    differ(wanted, base)
    assert expert.rank == (4 if init in ("kaiming", "gaussian") else 8)

    task = "SEQ_2_SEQ_LM" if any_model.config.is_encoder_decoder else "CAUSAL_LM"
    write_peft(expert, tmp_path / "a", "org/model", task)
    close(theirs(any_model, tmp_path / "a", x), wanted)
    close(ours(any_model, read_peft(tmp_path / "a", any_model), x), wanted)


def test_there_is_more_than_one_initialiser():
    assert set(registry.names("inits")) >= {"kaiming", "gaussian", "normal", "pissa", "olora"}


def test_layers_with_ranks_and_scales_of_their_own(llama, tmp_path):
    shapes = {
        "model.layers.0.self_attn.q_proj": (3, 0.5),
        "model.layers.1.self_attn.q_proj": (4, 1 / 3),
        "model.layers.0.mlp.up_proj": (1, 2.0),
        "model.layers.1.mlp.down_proj": (5, 0.5),
    }
    modules = dict(llama.named_modules())
    factors = {}
    for layer, (rank, scale) in shapes.items():
        O, I = modules[layer].weight.shape
        factors[layer] = Factors(torch.randn(rank, I) / 8, torch.randn(O, rank), scale)
    expert = Expert("mixed", factors)
    write_peft(expert, tmp_path / "a")
    x = inputs(llama)
    close(theirs(llama, tmp_path / "a", x), ours(llama, expert, x))
    differ(logits(llama, x), ours(llama, expert, x))

    config = json.loads((tmp_path / "a" / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"]) == (5, 2.5)
    assert len(config["rank_pattern"]) == 3 and len(config["alpha_pattern"]) == 3
    assert isinstance(config["alpha_pattern"][r"^model\.layers\.0\.mlp\.up_proj"], int)


def test_one_scale_stays_one_number_whatever_the_ranks(llama, tmp_path):
    """vLLM reads lora_alpha / r alone."""
    factors = {f"l{r}": Factors(torch.randn(r, 5), torch.randn(3, r), 2.0) for r in (2, 8, 4)}
    _, config = as_peft(Expert("x", factors))
    assert config["lora_alpha"] / config["r"] == 2.0 and config["r"] == 8
    assert [config["alpha_pattern"][f"^l{r}"] / config["rank_pattern"][f"^l{r}"] for r in (2, 4)] == [2.0, 2.0]


def test_patterns_are_of_one_layer_only(tmp_path):
    """A name that ends another's, and a dot that is no wildcard."""
    factors = {name: Factors(torch.randn(r, 5), torch.randn(3, r), s) for name, r, s in
               [("m.q", 2, 1.0), ("a.m.q", 3, 2.0), ("mxq", 4, 3.0), ("b.q", 5, 4.0)]}  # fmt: skip
    write_peft(Expert("x", factors), tmp_path / "a")
    for layer, f in read_peft(tmp_path / "a").factors.items():
        assert (f.rank, f.scale) == (factors[layer].rank, factors[layer].scale)


def test_loaded_and_shared_tensors_can_be_written(tmp_path):
    A, B = torch.randn(2, 5), torch.randn(3, 2)
    shared = Expert("x", {"a.q": Factors(A, B, 1.0), "b.q": Factors(A, B.mT.contiguous().mT, 1.0)})
    write_peft(shared, tmp_path / "a")
    write_peft(read_peft(tmp_path / "a"), tmp_path / "b")
    assert (tmp_path / "a" / WEIGHTS).read_bytes() == (tmp_path / "b" / WEIGHTS).read_bytes()


def test_an_export_takes_no_ones_place(tmp_path):
    expert = Expert("x", {"m": Factors(torch.randn(2, 5), torch.randn(3, 2))})
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("keep")
    with pytest.raises(Invalid, match="is there already"):
        write_peft(expert, tmp_path / "mine")
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["file"]
    (tmp_path / "empty").mkdir()
    write_peft(expert, tmp_path / "empty")
    assert read_peft(tmp_path / "empty").rank == 2
