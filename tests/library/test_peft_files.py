"""The two files against PEFT's own words: its fields, and the way it reads patterns."""

import dataclasses
import itertools
import json
import math

import pytest
import torch
from safetensors.torch import save_file

from yosegi.errors import NoData, Refused
from yosegi.library.peft_files import CONFIG, HARMLESS, REASONS, WEIGHTS, config_of, factors_of

LAYERS = ["model.layers.1.q", "model.layers.11.q", "layers.1.q", "q", "model.layers.1.v", "model.layers.1.qv"]


def config(folder, **fields):
    (folder / CONFIG).write_text(json.dumps({"peft_type": "LORA", "r": 2, "lora_alpha": 3} | fields))
    return config_of(folder)


def weights(folder, ranks):
    tensors = {}
    for layer, rank in ranks.items():
        tensors[f"base_model.model.{layer}.lora_A.weight"] = torch.randn(rank, 5)
        tensors[f"base_model.model.{layer}.lora_B.weight"] = torch.randn(3, rank)
    save_file(tensors, folder / WEIGHTS)


def test_every_field_of_pefts_config_is_known(tmp_path):
    from peft import LoraConfig

    fields = {field.name for field in dataclasses.fields(LoraConfig)}
    assert len(fields) > 35 and fields <= HARMLESS | REASONS.keys() and not HARMLESS & REASONS.keys()
    for field, reason in REASONS.items():
        with pytest.raises(Refused, match=f"{field}=.*: ") as error:
            config(tmp_path, **{field: [1]})
        assert reason in str(error.value)
        config(tmp_path, **{field: None})


def test_a_default_config_of_peft_is_plain(tmp_path):
    from peft import LoraConfig

    LoraConfig(target_modules=["q"]).save_pretrained(tmp_path)
    assert config_of(tmp_path)["r"] == 8


PATTERNS = [
    "q",
    r"1\.q",
    "layers.1.q",
    r"^layers\.1\.q",
    r"^model\.layers\.1\.q",
    r"layers\.\d+\.q",
    "model.*",
    "[qv]+",
    ".q",
    "1.v",
]


def test_patterns_fit_the_layers_that_peft_thinks_they_fit(tmp_path):
    from peft.utils.other import get_pattern_key

    tried = set()
    for chosen in itertools.permutations(PATTERNS, 2):
        alphas = {pattern: i + 10 for i, pattern in enumerate(chosen)}
        weights(tmp_path, dict.fromkeys(LAYERS, 2))
        factors = factors_of(tmp_path, config(tmp_path, alpha_pattern=alphas))
        assert set(factors) == set(LAYERS)
        for layer, f in factors.items():
            wanted = alphas.get(get_pattern_key(alphas.keys(), layer), 3)
            assert f.scale == wanted / 2, (chosen, layer)
            tried.add((layer, wanted))
    assert len(tried) > 2 * len(LAYERS)


def test_rank_and_alpha_meet_in_the_scale(tmp_path):
    weights(tmp_path, {"a.q": 4, "a.v": 2})
    plain = config(tmp_path, rank_pattern={"q": 4}, alpha_pattern={"v": 7})
    assert {layer: f.scale for layer, f in factors_of(tmp_path, plain).items()} == {"a.q": 3 / 4, "a.v": 7 / 2}
    root = config(tmp_path, rank_pattern={"q": 4}, alpha_pattern={"v": 7}, use_rslora=True)
    assert {n: f.scale for n, f in factors_of(tmp_path, root).items()} == {"a.q": 3 / 2, "a.v": 7 / math.sqrt(2)}


@pytest.mark.parametrize(("targets", "fits"), [
    (["q"], True), (["a.q"], True), (["x", "q"], True), ("all-linear", True), (None, True), (r"a\.q", True), (".*q", True),
    ([], False), (["aq"], False), ([".q"], False), (["a"], False), ("q", False), (r"a\.q2?x", False),
])  # fmt: skip
def test_targets_name_what_peft_thinks_they_name(tmp_path, targets, fits):
    weights(tmp_path, {"a.q": 2})
    message = config(tmp_path, target_modules=targets)
    if fits:
        assert set(factors_of(tmp_path, message)) == {"a.q"}
    else:
        with pytest.raises(Refused, match="layer a.q, which the config's target_modules does not name"):
            factors_of(tmp_path, message)


def test_missing_files_are_no_data(tmp_path):
    with pytest.raises(NoData, match="adapter_config.json is missing"):
        config_of(tmp_path)
    with pytest.raises(NoData, match="adapter_model.safetensors is missing"):
        factors_of(tmp_path, config(tmp_path))
