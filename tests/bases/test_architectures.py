"""Whatever writes text is a base: what "all-linear" reaches in it is said where that is not everything, and an expert fits."""

import importlib

import pytest
import torch

from yosegi import bases
from yosegi.core.model import attach, left_out, linears
from yosegi.inits import fresh
from yosegi.routers.uniform import Uniform

SIZES = {
    "vocab_size": 300, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "bos_token_id": 1, "eos_token_id": 1, "pad_token_id": 0,
}  # fmt: skip
EXPERTS = "4 fused expert tensors (…mlp.experts.gate_up_proj, …mlp.experts.down_proj) are not linears and stay frozen"
READ = "…mixer.x_proj, …mixer.dt_proj, …mixer.out_proj"
SIGLIP = {
    "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 28,
    "patch_size": 14,
}  # fmt: skip
RECURRENT = {key: SIZES[key] for key in ("vocab_size", "hidden_size", "num_hidden_layers")}
KINDS = {
    "Rwkv": ("CausalLM", RECURRENT | {"attention_hidden_size": 32}, 14, None),
    "Mamba": ("CausalLM", RECURRENT, 2, f"6 linears whose weights fused kernels read ({READ}) stay frozen"),
    "Mixtral": ("CausalLM", {**SIZES, "num_local_experts": 4}, 8, EXPERTS),
    "Gemma3": (
        "ConditionalGeneration",
        {"text_config": {**SIZES, "sliding_window": 16}, "vision_config": SIGLIP, "mm_tokens_per_image": 4},
        14,
        "9 linears outside the text model (model.language_model) stay frozen",
    ),
    "Qwen2VL": (
        "ConditionalGeneration",
        {
            "text_config": {**SIZES, "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2]}},
            "vision_config": {"depth": 1, "embed_dim": 16, "hidden_size": 32, "num_heads": 2},
        },
        14,
        "6 linears outside the text model (model.language_model) stay frozen",
    ),
}
"""What follows "For" in the name of the class, its config, the linears that all-linear covers, and what is said of the rest."""


@pytest.fixture(scope="module", params=KINDS)
def kind(request, tmp_path_factory):
    name = request.param
    suffix, config, *expected = KINDS[name]
    transformers = importlib.import_module("transformers")
    torch.manual_seed(0)
    model = getattr(transformers, f"{name}For{suffix}")(getattr(transformers, f"{name}Config")(**config))
    folder = tmp_path_factory.mktemp(name)
    model.save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(bases.locate("nano")).save_pretrained(folder)
    return folder, model.eval(), *expected


def test_it_is_loaded_whole_and_says_what_all_linear_leaves_out(kind, capsys):
    folder, model, covered, rest = kind
    base = bases.load(str(folder), device="cpu")
    said = capsys.readouterr().err
    assert said == (f"all-linear covers {covered} linears; {rest}.\n" if rest else "")
    assert type(base.model) is type(model) and base.hash == bases.weights_hash(folder)
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in base.model.state_dict().items())
    assert len(linears(base.model)) == covered and "lm_head" not in linears(base.model)


def test_an_expert_moves_what_it_says_and_the_base_comes_back(kind):
    folder, _, covered, rest = kind
    base = bases.load(str(folder), device="cpu")
    inputs = {"input_ids": torch.tensor([[5, 6, 7, 8]]), "use_cache": False}
    with torch.no_grad():
        alone = base.model(**inputs).logits
    banks = attach(base.model, [fresh(base.model, "new", rank=2, alpha=4)], Uniform())
    assert len(banks) == covered
    base.model.train()
    base.model(**inputs).logits.float().logsumexp(-1).sum().backward()
    base.model.eval()
    silent = [name for name, bank in banks.items() if bank.B_EOR.grad is None or not bank.B_EOR.grad.any()]
    assert not silent, silent
    banks.detach()
    with torch.no_grad():
        assert torch.equal(base.model(**inputs).logits, alone)
    assert (left_out(base.model) is None) == (rest is None)


def test_targets_by_ending_mean_the_text_model_and_a_regular_expression_means_all():
    transformers = importlib.import_module("transformers")
    suffix, config, *_ = KINDS["Gemma3"]
    model = transformers.Gemma3ForConditionalGeneration(transformers.Gemma3Config(**config))
    text = [f"model.language_model.layers.{i}.self_attn.q_proj" for i in range(2)]
    assert linears(model, "q_proj") == linears(model, ["q_proj"]) == text
    every = linears(model, r".*q_proj")
    assert len(every) == 3 and set(text) < set(every) and linears(model, every[0]) == [every[0]]
