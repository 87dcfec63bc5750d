"""How a base is loaded: the flags that every verb which loads one has, and what `auto` decides."""

from pathlib import Path
from typing import Any, Literal

import torch

from yosegi.errors import Invalid, NoData
from yosegi.estimate.machines import WIDE, cpu_has_bf16
from yosegi.settings import CheckedSettings

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


class LoadSettings(CheckedSettings):
    """How a base is loaded. Settings of a verb that loads one inherit these fields."""

    dtype: Literal["auto", "fp32", "bf16"] = "auto"
    """Precision of the frozen base's weights. auto: bf16 for hidden sizes from 512 on a CPU with AVX512-BF16 or AMX; on a GPU
    that has bf16, the checkpoint's own; else fp32. Experts, routers and losses are fp32 in any case."""
    load_in_4bit: bool = False
    """Hold the base's linears in NF4, as QLoRA does (pip install 'yosegi-lora[quant]')."""
    device: str = "auto"
    """Where the base is computed: auto (the GPU if there is one), cpu, cuda, cuda:1, mps."""
    attn_implementation: str = "auto"
    """The attention of transformers: auto, eager, sdpa, flash_attention_2, …"""
    chat_template: str = "auto"
    """auto: prompts are turns of a conversation if the base has a chat template; none: plain texts; or a file with a template."""

    @property
    def loading(self) -> dict[str, Any]:
        """The arguments of `bases.load`."""
        return {name: getattr(self, name) for name in LoadSettings.model_fields}


def choose_device(device: str) -> str:
    """Returns the device that is meant.

    Raises:
        Invalid: it is not here, or is none.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, number = device.partition(":")
    here = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if kind not in here or (number and not number.isdigit()):
        raise Invalid(f"--device {device!r}: there are auto, cpu, cuda, cuda:1 and mps.")
    if not here[kind] or (kind == "cuda" and int(number or 0) >= torch.cuda.device_count()):
        raise Invalid(f"--device {device!r} is not on this machine.")
    return device


def choose_dtype(dtype: str, config: Any, device: str) -> str:
    """Returns fp32 or bf16: what was asked for, or what pays for a model of this config on this device."""
    if dtype != "auto":
        return dtype
    if getattr(config.get_text_config(), "hidden_size", 0) < WIDE:
        return "fp32"
    if device.startswith("cuda"):
        half = config.dtype in (torch.bfloat16, torch.float16)
        return "bf16" if half and torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if device == "cpu" and cpu_has_bf16() else "fp32"


def choose_template(asked: str, tokenizer: Any) -> str:
    """Returns the text of the chat template: the tokenizer's, that of a file, or "" for plain prompts."""
    if asked == "none":
        return ""
    if asked != "auto":
        if not Path(asked).is_file():
            raise NoData(f"--chat-template {asked!r} is neither auto, none, nor a file.")
        return Path(asked).read_text(encoding="utf-8")
    own = getattr(tokenizer, "chat_template", None) or ""
    return own.get("default", "") if isinstance(own, dict) else own
