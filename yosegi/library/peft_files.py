"""The two files of a PEFT LoRA, read and checked: it must be a plain LoRA, and its tensors must match its config.

Every field of the config is checked. One that is set and could change what the adapter computes is refused by its name, and so
is an unknown one: a silent difference would be worse.
"""

import functools
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from yosegi import files
from yosegi.core.expert import Factors
from yosegi.errors import Invalid, NoData, Refused, shown
from yosegi.library.card import CONFIG, IS_TEXT, IS_TEXTS, WEIGHTS, check_fields
from yosegi.library.mapped import mapped
from yosegi.untrusted import Pattern

PICKLE = "adapter_model.bin"
PREFIX = "base_model.model."
FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)

MOVES_BASE = ("pissa", "olora", "corda", "lora_ga")
"""PEFT's initialisers that subtract their own start from the base weight."""
KEEPS_BASE = ("gaussian", "eva", "orthogonal", "mica")
"""PEFT's initialisers that only choose A and B and leave the base as it is."""

# fmt: off
HARMLESS = frozenset((
    "peft_type", "peft_version", "task_type", "auto_mapping", "base_model_name_or_path", "revision", "inference_mode",
    "r", "lora_alpha", "lora_dropout", "use_rslora", "rank_pattern", "alpha_pattern", "bias", "fan_in_fan_out",
    "target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "ensure_weight_tying",
    "init_lora_weights", "eva_config", "corda_config", "lora_ga_config", "loftq_config", "velora_config",
    "megatron_core", "qalora_group_size", "runtime_config",
))
# fmt: on
"""Fields that say how the adapter was trained or where it goes; those that matter are checked one by one."""

REASONS = {
    "use_dora": "DoRA also rescales the base's own columns, which no delta B A can express",
    "lora_bias": "a bias beside B is not part of a delta B A",
    "modules_to_save": "it replaces whole modules of the base",
    "trainable_token_indices": "it replaces rows of the base's embedding",
    "layer_replication": "it stacks the base's layers anew, so it belongs to another model",
    "target_parameters": "it changes parameters that are not linear layers",
    "alora_invocation_tokens": "aLoRA is active only after certain tokens",
    "arrow_config": "an Arrow router is not an expert; import the experts it routes to",
    "use_qalora": "QALoRA pools its input before A reads it",
    "kasa_config": "KaSA truncates the base and puts a diagonal between A and B",
    "monteclora_config": "MonteCLoRA adds random perturbations to its factors",
    "megatron_config": "Megatron may have split its factors over several devices",
    "use_bdlora": "its factors are stored as blocks, not as A and B",
}

TENSORS = {
    "lora_embedding_": "LoRA of an embedding; only linear layers have experts",
    "lora_magnitude_vector": "the magnitude of DoRA, which no delta B A can express",
    ".lora_A.bias": "a bias, which is not part of a delta B A",
    ".lora_B.bias": "a bias, which is not part of a delta B A",
    "modules_to_save": "a whole module of the base",
}


KINDS = {
    **dict.fromkeys(("peft_type", "task_type", "base_model_name_or_path", "revision", "peft_version"), IS_TEXT),
    **dict.fromkeys(("target_modules", "exclude_modules"), IS_TEXTS),
}
"""What the fields of adapter_config.json are that are read here."""


def config_of(folder: Path) -> dict[str, Any]:
    """Returns adapter_config.json.

    Raises:
        NoData: there is none. Corrupt: it is not a JSON object. Refused: it describes something else than a plain LoRA.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise NoData(f"There is no adapter in {folder}: {CONFIG} is missing.")
    config = files.read_json(path)
    check_fields(config, KINDS, str(path))
    if (kind := config.get("peft_type")) != "LORA":
        raise Refused(f"{path} says peft_type={shown(kind, 80)}; only LORA is a sum of deltas B A.")
    if (bias := config.get("bias", "none")) != "none":
        raise Refused(
            f"{path} says bias={shown(bias, 80)}: it changes the base's biases, which no delta B A can express."
        )
    for field, value in config.items():
        if field not in HARMLESS and value:
            raise Refused(
                f"{path} says {field}={shown(value, 80)}: {REASONS.get(field, 'yosegi does not know what that changes')}."
            )
    init = config.get("init_lora_weights", True)
    name = init.lower() if isinstance(init, str) else ""
    if name.startswith("loftq"):
        raise Refused(
            f"{path} says init_lora_weights={shown(init, 80)}: it was trained on a base that LoftQ had quantised."
        )
    if not (isinstance(init, bool) or init is None or name.startswith((*MOVES_BASE, *KEEPS_BASE))):
        raise Refused(
            f"{path} says init_lora_weights={shown(init, 80)}: yosegi does not know whether that moves the base."
        )
    for field, patterns, right in (("r", "rank_pattern", _is_rank), ("lora_alpha", "alpha_pattern", files.is_finite)):
        if not right(config.get(field)):
            raise Refused(f"{path} says {field}={shown(config.get(field), 80)}, which cannot be.")
        pattern = config.get(patterns) or {}
        if not isinstance(pattern, dict) or not all(right(value) for value in pattern.values()):
            raise Refused(f"{path} says {patterns}={shown(pattern, 80)}, which cannot be.")
    return config


def factors_of(folder: Path, config: Mapping[str, Any], base: Mapping[str, Tensor] | None = None) -> dict[str, Factors]:
    """Returns the layers of adapter_model.safetensors, memory-mapped, with ranks and scales checked against the config.

    Args:
        folder: has the file.
        config: the result of `config_of`.
        base: the parameters of the base by name. PEFT may store copies of the embeddings too; they are ignored if they equal
            the base's bit for bit, and refused otherwise.
    """
    path = folder / WEIGHTS
    if not path.is_file() and (folder / PICKLE).exists():
        raise Refused(
            f"{folder / PICKLE} is a pickle, which can run any code when it is read. Load it where you trust it, and "
            "save it again with safe_serialization=True."
        )
    pairs: dict[str, dict[str, Tensor]] = {}
    for key, tensor in mapped(path).items():
        layer, _, end = key.rpartition(".lora_")
        if end in ("A.weight", "B.weight") and layer.startswith(PREFIX):
            pairs.setdefault(layer.removeprefix(PREFIX), {})[end[0]] = tensor
        else:
            _check_copy(path, key, tensor, base or {})
    if not pairs:
        raise Refused(f"{path} holds no LoRA factors.")
    layers = tuple(pairs)
    ranks = _by_pattern(path, config, "rank_pattern", layers, config["r"])
    alphas = _by_pattern(path, config, "alpha_pattern", layers, config["lora_alpha"])
    factors: dict[str, Factors] = {}
    for layer, rank, alpha in zip(layers, ranks, alphas, strict=True):
        scale = alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank
        factors[layer] = Factors(*_pair(path, layer, pairs[layer], rank), scale)
    _check_targets(path, config, layers)
    return factors


def finite_factors(
    folder: Path, config: Mapping[str, Any], base: Mapping[str, Tensor] | None = None
) -> dict[str, Factors]:
    """Returns the same; every number is read, and NaN and infinity are refused."""
    factors = factors_of(folder, config, base)
    for layer, f in factors.items():
        for letter, factor in (("A", f.A_RI), ("B", f.B_OR)):
            if not bool(factor.isfinite().all()):
                raise Refused(f"{folder / WEIGHTS}: {PREFIX}{layer}.lora_{letter}.weight holds NaN or infinity.")
    return factors


def _is_rank(value: object) -> bool:
    return files.is_finite(value) and isinstance(value, int) and value > 0


def _by_pattern(path: Path, config: Mapping[str, Any], field: str, layers: tuple[str, ...], default: Any) -> list[Any]:
    """Returns the value of each layer: that of the first pattern that is its name or the end of it, as PEFT reads them."""
    patterns: dict[str, Any] = config.get(field) or {}
    with _refused():
        matches = _first_matches(f"{path}: {field}", tuple(patterns), layers)
    return [default if pattern is None else patterns[pattern] for pattern in matches]


@functools.lru_cache(maxsize=64)
def _first_matches(place: str, patterns: tuple[str, ...], layers: tuple[str, ...]) -> tuple[str | None, ...]:
    """Returns the first pattern of each layer. Cached: the experts of one library mostly have the same layers and patterns."""
    clock = Pattern("", place)
    compiled = [(pattern, Pattern(rf"(.*\.)?({pattern})", place, clock)) for pattern in patterns]
    return tuple(next((pattern for pattern, one in compiled if one.fullmatch(layer)), None) for layer in layers)


@contextmanager
def _refused() -> Iterator[None]:
    """Turns what is wrong with a pattern of the config into what is wrong with the adapter."""
    try:
        yield
    except Invalid as error:
        raise Refused(str(error)) from error


def _pair(path: Path, layer: str, pair: Mapping[str, Tensor], rank: int) -> tuple[Tensor, Tensor]:
    """Returns A [R, I] and B [O, R] of one layer, checked."""
    key = f"{PREFIX}{layer}.lora_"
    for letter, side in (("A", 0), ("B", 1)):
        if letter not in pair:
            raise Refused(f"{path}: {key}{letter}.weight is missing, and its partner is there.")
        factor = pair[letter]
        if factor.ndim != 2 or factor.shape[side] != rank or 0 in factor.shape:
            wanted = f"[{rank}, in]" if letter == "A" else f"[out, {rank}]"
            raise Refused(f"{path}: {key}{letter}.weight is {list(factor.shape)}; the config says {wanted}.")
        if factor.dtype not in FLOATS:
            raise Refused(f"{path}: {key}{letter}.weight is of {factor.dtype}, which is not plain floating point.")
    return pair["A"], pair["B"]


def _check_targets(path: Path, config: Mapping[str, Any], layers: tuple[str, ...]) -> None:
    """PEFT drops the tensors of layers that target_modules does not name; here that is an error."""
    targets = config.get("target_modules")
    if targets is None or targets == "all-linear":
        return
    if isinstance(targets, str):
        with _refused():
            named = Pattern(targets, f"{path.parent / CONFIG}: target_modules").fullmatch
            unnamed = next((layer for layer in layers if not named(layer)), None)
    else:
        names = {str(target) for target in targets}
        endings = tuple(f".{name}" for name in names)
        unnamed = next((layer for layer in layers if layer not in names and not layer.endswith(endings)), None)
    if unnamed is not None:
        raise Refused(f"{path} has factors for layer {unnamed}, which the config's target_modules does not name.")


def shortcomings(config: Mapping[str, Any], factors: Mapping[str, Factors]) -> list[str]:
    """Returns what is allowed of an adapter and seldom meant: targets without a layer, and deltas that are zero everywhere."""
    targets, faults = config.get("target_modules"), list[str]()
    names = [] if targets is None or isinstance(targets, str) else targets
    ends = {layer.rpartition(".")[2] for layer in factors} | factors.keys()
    if absent := [
        name for name in names if name not in ends and not any(layer.endswith(f".{name}") for layer in factors)
    ]:
        faults.append(
            f"has no layer for {len(absent)} of its {len(names)} target modules ({shown(', '.join(absent), 80)})"
        )
    if not any(bool(f.A_RI.any()) and bool(f.B_OR.any()) and f.scale for f in factors.values()):
        faults.append("changes nothing: its factors are zero in every layer")
    return faults


def _check_copy(path: Path, key: str, tensor: Tensor, base: Mapping[str, Tensor]) -> None:
    """Refuses a tensor that is not a factor, by its name, unless it is a copy of the base's own."""
    weight = base.get(key.removeprefix(PREFIX).replace(".base_layer.", "."))
    if weight is not None and weight.shape == tensor.shape:
        if torch.equal(weight.detach().cpu(), tensor.to(weight.dtype)):
            return
        if ".lora_" not in key:
            raise Refused(f"{path} holds {key}, a weight of the base, but not as it is in this base.")
    for part, reason in TENSORS.items():
        if part in key:
            raise Refused(f"{path} holds {key}: {reason}.")
    if key.startswith(PREFIX) and ".lora_" not in key:
        raise Refused(
            f"{path} holds {key}, a weight of the base. If it was not changed, save with save_embedding_layers=False, "
            "or give the base model to compare it with."
        )
    raise Refused(f"{path} holds {key}, which is not a LoRA factor.")
