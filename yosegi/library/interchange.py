"""PEFT's LoRA format, in and out. What would not compute the same here is refused, by name and with the reason.

    adapter_config.json          r, lora_alpha, target_modules, rank_pattern, alpha_pattern
    adapter_model.safetensors    base_model.model.<layer>.lora_A.weight [R, I],  ….lora_B.weight [O, R]

PEFT's scale is lora_alpha / r, or lora_alpha / √r with use_rslora; an expert carries the number itself, layer by layer.
PiSSA, OLoRA and similar initialisers subtract s B₀ A₀ from the base before training, so that their factors mean nothing for
the base as it is. With the factors they started from, the same function is an ordinary expert of rank 2R:

    (W - s B₀ A₀) + s B A  =  W + s [B, -B₀] [A; A₀]

Shapes: I in, O out, R rank.
"""

import importlib.metadata
import math
import re
import warnings
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor, nn

from yosegi import files
from yosegi.core import model
from yosegi.core.expert import Expert, Factors
from yosegi.errors import Invalid, Refused, UnknownName
from yosegi.library.peft_files import CONFIG, MOVES_BASE, PREFIX, WEIGHTS, config_of, finite_factors, shortcomings

PEFT = importlib.metadata.version("peft")


def read_peft(
    folder: str | Path,
    base_model: nn.Module | None = None,
    *,
    initial: str | Path | None = None,
    name: str | None = None,
) -> Expert:
    """Returns any LoRA that PEFT wrote as an expert. Only safetensors and JSON are read, and the tensors are memory-mapped.

    Args:
        folder: has adapter_config.json and adapter_model.safetensors.
        base_model: the model it belongs to; if given, every layer must be one of its linears and fit it.
        initial: the folder of the initial factors, which are then subtracted. By default, and only if the method is one that
            moves the base, it is a sub-folder `initial` or `<method>_init` (PEFT's examples).
        name: the expert's name; by default the folder's.

    Raises:
        NoData: there is no adapter in the folder.
        Corrupt: one of its files cannot be read.
        Refused: it is not a plain LoRA, or its tensors do not fit its config, each other or the base, or are not finite.
    """
    folder = Path(folder)
    config = config_of(folder)
    # A tied parameter has two names, and PEFT stores it under either.
    parameters = dict(base_model.named_parameters(remove_duplicate=False)) if base_model else {}
    factors = finite_factors(folder, config, parameters)
    if (start := _start(folder, config, initial)) is not None:
        factors = _subtract(factors, folder, start)
    missing = [] if base_model is None else _check_fit(factors, config, folder, base_model)
    for what in [*shortcomings(config, factors), *missing]:
        warnings.warn(f"{folder / WEIGHTS} {what}.", stacklevel=2)
    base, init = config.get("base_model_name_or_path"), config.get("init_lora_weights", True)
    card = {
        "base": base if isinstance(base, str) else None,
        "init": {True: "kaiming", False: None}.get(init, init),
        "task_type": config.get("task_type") or "CAUSAL_LM",
        "training": {"imported": "peft", "peft_version": config.get("peft_version")},
    }
    return Expert(name or folder.resolve().name, factors, card)


def write_peft(expert: Expert, folder: str | Path, base: str | None = None, task_type: str = "CAUSAL_LM") -> None:
    """Writes an expert as PEFT would: `PeftModel.from_pretrained` then computes what the expert does.

    Args:
        expert: has at least one layer, and every number is finite.
        folder: appears when all is written; it must be missing or empty.
        base: its base, as `from_pretrained` would find it.
        task_type: PEFT's, "CAUSAL_LM" or "SEQ_2_SEQ_LM".
    """
    folder = Path(folder)
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise Invalid(f"{folder} is there already. Export to a new folder.")
    weights, config = as_peft(expert, base, task_type)
    with files.new_folder(folder) as new:
        (new / WEIGHTS).write_bytes(weights)
        files.write_json(new / CONFIG, config)


def as_peft(expert: Expert, base: str | None = None, task_type: str = "CAUSAL_LM") -> tuple[bytes, dict[str, Any]]:
    """Returns the contents of adapter_model.safetensors and of adapter_config.json."""
    if not expert.factors:
        raise Invalid(f"Expert {expert.name!r} has no layers.")
    tensors: dict[str, Tensor] = {}
    for layer, f in expert.factors.items():  # clones, for safetensors refuses tensors that share memory
        A, B = tuple(f.A_RI.shape), tuple(f.B_OR.shape)
        if not (len(A) == len(B) == 2 and A[0] == B[1] and all(A + B)):
            raise Invalid(f"Expert {expert.name!r}, layer {layer}: A {A} and B {B} are not [R, I] and [O, R].")
        if not (math.isfinite(f.scale) and bool(f.A_RI.isfinite().all()) and bool(f.B_OR.isfinite().all())):
            raise Invalid(f"Expert {expert.name!r}, layer {layer}: holds NaN or infinity.")
        tensors[f"{PREFIX}{layer}.lora_A.weight"] = f.A_RI.detach().cpu().contiguous().clone()
        tensors[f"{PREFIX}{layer}.lora_B.weight"] = f.B_OR.detach().cpu().contiguous().clone()
    return safetensors.torch.save(tensors, metadata={"format": "pt"}), _config(expert, base, task_type)


def _config(expert: Expert, base: str | None, task_type: str) -> dict[str, Any]:
    """Returns adapter_config.json. Only layers that differ from the largest rank and the most common scale have a pattern.

    PEFT reads the patterns. vLLM knows one scale only, lora_alpha / r, and is right where all layers share theirs.
    """
    r = expert.rank
    scale = Counter(f.scale for f in expert.factors.values()).most_common(1)[0][0]
    other = {f"^{re.escape(layer)}": f for layer, f in expert.factors.items() if (f.rank, f.scale) != (r, scale)}
    return {
        "peft_type": "LORA",
        "peft_version": PEFT,
        "task_type": task_type,
        "base_model_name_or_path": base,
        "r": r,
        "lora_alpha": _number(scale * r),
        "rank_pattern": {pattern: f.rank for pattern, f in other.items() if f.rank != r},
        "alpha_pattern": {pattern: _number(f.scale * f.rank) for pattern, f in other.items()},
        "target_modules": list(expert.factors),
        "init_lora_weights": True,
        "use_rslora": False,
        "use_dora": False,
        "bias": "none",
        "modules_to_save": None,
        "lora_dropout": 0.0,
        "fan_in_fan_out": False,
        "inference_mode": True,
    }


def _start(folder: Path, config: Mapping[str, Any], initial: str | Path | None) -> Path | None:
    """Returns the folder of the initial factors if they moved the base; Refused if it is not known."""
    init = config.get("init_lora_weights")
    method = next((m for m in MOVES_BASE if isinstance(init, str) and init.lower().startswith(m)), None)
    if initial is not None or method is None:
        return None if initial is None else Path(initial)
    for place in (folder / "initial", folder / f"{method}_init"):
        if (place / CONFIG).is_file():
            return place
    raise Refused(
        f"{folder / CONFIG} says init_lora_weights={init!r}: before training, the start of these factors was subtracted "
        "from the base, so they mean nothing for the base as it is. With that start they could be converted, but it "
        f"is not in {folder / 'initial'}. To save it: before training, set init_lora_weights=True and save_pretrained."
    )


def _subtract(factors: Mapping[str, Factors], folder: Path, initial: Path) -> dict[str, Factors]:
    """Returns s (B A - B₀ A₀), exactly, at rank 2R."""
    start = finite_factors(initial, config_of(initial))
    for layer in {**factors, **start}:
        f, f0 = factors.get(layer), start.get(layer)
        if f is None or f0 is None or (f.A_RI.shape, f.B_OR.shape, f.scale) != (f0.A_RI.shape, f0.B_OR.shape, f0.scale):
            raise Refused(f"{initial / WEIGHTS} is not where {folder} began: layer {layer} is not the same in both.")
    if not any(bool(f0.B_OR.any()) for f0 in start.values()):
        raise Refused(
            f"{initial / WEIGHTS} is not where {folder} began: its B is zero, and such a start moves no base."
        )
    return {layer: f.minus(start[layer]) for layer, f in factors.items()}


def _check_fit(
    factors: Mapping[str, Factors], config: Mapping[str, Any], folder: Path, base_model: nn.Module
) -> list[str]:
    """Refuses factors that do not fit the base; returns which of the linears that the config names have none."""
    modules = dict(base_model.named_modules())
    for layer, f in factors.items():
        if layer not in modules or not model.is_linear(modules[layer]):
            raise Refused(f"{folder / WEIGHTS} has factors for layer {layer}, and this base has no such linear.")
        if why := model.why_not(base_model, layer):
            raise Refused(f"{folder / WEIGHTS} has factors for {why}")
        O, I = model.shape(modules[layer])
        if f.shape != (O, I):
            raise Refused(
                f"{folder / WEIGHTS}: lora_A {tuple(f.A_RI.shape)} and lora_B {tuple(f.B_OR.shape)} of layer {layer} "
                f"do not fit this base's linear of {I} inputs and {O} outputs."
            )
    if (
        not (targets := config.get("target_modules"))
        or config.get("layers_to_transform")
        or config.get("exclude_modules")
    ):
        return []
    try:
        bare = [name for name in model.linears(base_model, targets) if name not in factors]
    except (Invalid, UnknownName):  # PEFT's pattern may name what is no linear
        return []
    return [f"has no factors for {len(bare)} linears that its config names, such as {bare[0]}"] if bare else []


def _number(x: float) -> int | float:
    """Returns 16 rather than 16.0, for readers that expect an integer lora_alpha."""
    return int(x) if float(x).is_integer() else float(x)
