"""Bases: models that experts are trained on. Those of this drawer come with the package or are rebuilt by one recipe; any
other causal or sequence-to-sequence model is named by its folder or its Hugging Face id.
"""

import logging
import os
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn

from yosegi import registry
from yosegi.bases._weights import hub_folder, read_model, weight_files, weights_hash
from yosegi.core.model import left_out
from yosegi.errors import Corrupt, MissingExtra, NoData, UnknownName, YosegiError

__all__ = ["DTYPES", "Base", "hub_folder", "load", "locate", "weight_files", "weights_hash"]

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}

# bitsandbytes, which PEFT imports wherever it is installed, warns on CPUs with AVX512-BF16 that an optional kernel is missing.
# `load` never takes that kernel's path (`_keep_trainable`), so the warning concerns nobody.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)

SMALL = 30_000_000
"""A model of fewer parameters is computed by one thread, unless OMP_NUM_THREADS says otherwise: more of them spend ten times
as long waiting for each other."""


@dataclass
class Base:
    """A model with its tokenizer, its name, and the hash of its weights (first 12 hex digits).

    The hash does not depend on how the weights are held in memory (`dtype`: fp32, bf16 or 4bit): an expert that was trained
    on the 4-bit base fits the whole one as well, and says on its card which it was.
    """

    name: str
    hash: str
    model: nn.Module
    tokenizer: Any
    dtype: str = "fp32"

    @property
    def seq2seq(self) -> bool:
        """Whether it is an encoder-decoder."""
        return bool(self.model.config.is_encoder_decoder)  # type: ignore[union-attr]


def load(name: str, dtype: str = "fp32", load_in_4bit: bool = False, device: str | None = None) -> Base:
    """Returns a base by its name here, its folder, or its Hub id. Only safetensors are read.

    Args:
        name: `nano`, `house`, a folder, or an id such as "Qwen/Qwen3-0.6B-Base".
        dtype: precision of the weights: fp32 or bf16.
        load_in_4bit: the blocks' linears in NF4 with nested scales (Dettmers et al. 2023, "QLoRA", arXiv:2305.14314); the rest
            in `dtype` on a CPU, in bf16 on a GPU.
        device: by default the GPU if there is one.

    Raises:
        Corrupt: the folder does not hold a whole model with a tokenizer that fits it.
        MissingExtra: 4 bits without bitsandbytes.
        NoData: it is not here, and the Hub does not give it.
    """
    if dtype not in DTYPES:
        raise UnknownName.among("dtype", dtype, DTYPES)
    if load_in_4bit and find_spec("bitsandbytes") is None:
        raise MissingExtra.named("bitsandbytes", "quant")
    from transformers import AutoConfig, AutoTokenizer
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    place, device = locate(name), device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        folder = Path(place) if Path(place).is_dir() else hub_folder(place)
    except (OSError, ValueError) as error:
        hint = f"is no folder and could not be fetched from the Hub (hf download {name})"
        raise NoData(f"The base {name!r} {hint}: {_line(error)}") from error
    try:
        config = AutoConfig.from_pretrained(folder)
        pack = load_in_4bit and not hasattr(config, "quantization_config")  # else it is packed already
        model = read_model(folder, config, **_nf4(dtype, device) if pack else {"dtype": DTYPES[dtype]})
        if not any(folder.glob("*token*")):
            raise Corrupt(f"The base in {folder} has no tokenizer: save one beside it (tokenizer.save_pretrained).")
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except YosegiError:
        raise
    except Exception as error:  # whatever a damaged file makes of the libraries that read it
        raise Corrupt(f"The base in {folder} cannot be loaded: {_line(error)}") from error
    _check_tokenizer(tokenizer, model, folder)
    if "OMP_NUM_THREADS" not in os.environ and sum(p.numel() for p in model.parameters()) < SMALL:
        torch.set_num_threads(1)
    _keep_trainable(model)
    if rest := left_out(model):
        print(rest, file=sys.stderr)
    model.to(device).eval()  # type: ignore[arg-type]
    dtype = "4bit" if getattr(model, "is_loaded_in_4bit", False) else dtype
    return Base(name, weights_hash(folder), model, tokenizer, dtype)


def locate(name: str) -> str:
    """Returns the folder, or the Hub id, that a name stands for."""
    if name in registry.names("bases"):
        return str(registry.load("bases", name).folder())
    if name and Path(name).is_dir():
        return name
    if name.count("/") == 1 and not name.startswith((".", "/")):
        return name
    raise UnknownName.among("base, nor a folder,", name, registry.names("bases"))


def _check_tokenizer(tokenizer: Any, model: Any, folder: Path) -> None:
    """Refuse a tokenizer whose tokens the model does not know, or whose texts have no end. Without a token to pad with, or with
    one outside the embedding, it pads with the end of a text: what is padded is masked everywhere."""
    rows = model.get_input_embeddings().weight.shape[0]
    outside = {word for word, token in tokenizer.get_vocab().items() if token >= rows}
    if tokenizer.eos_token_id is None:
        raise Corrupt(
            f"The tokenizer in {folder} has no end-of-text token: set eos_token in its tokenizer_config.json."
        )
    added = {str(token) for token in tokenizer.added_tokens_decoder.values()} - {
        tokenizer.bos_token,
        tokenizer.eos_token,
    }
    if strange := sorted(outside - added):
        raise Corrupt(
            f"The tokenizer in {folder} does not fit the model: {strange[0]!r} is outside its {rows} embeddings."
        )
    if tokenizer.pad_token in outside:
        print(
            f"Warning: {tokenizer.pad_token} is outside the {rows} embeddings; padding with the end.", file=sys.stderr
        )
    if tokenizer.pad_token is None or tokenizer.pad_token in outside:
        tokenizer.pad_token = tokenizer.eos_token


def _nf4(dtype: str, device: str) -> dict[str, Any]:
    """What transformers is told for a base in four bits. All but the head is packed while it is read, linear by linear."""
    from transformers import BitsAndBytesConfig

    rest = torch.bfloat16 if device.startswith("cuda") else DTYPES[dtype]
    packed = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=rest
    )
    return {"dtype": rest, "quantization_config": packed, "device_map": {"": device}}


def _keep_trainable(model: nn.Module) -> None:
    """Keep 4-bit linears in the layout that has a gradient.

    On CPUs with AVX512-BF16, bitsandbytes repacks the weights of a linear in place at its first forward in eval mode, for a
    kernel that has no backward: whatever was trained afterwards would get no gradient through the layer, and no error. Each of
    its linears has a switch for it.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False  # type: ignore[assignment]


def _line(error: Exception) -> str:
    words = " ".join(str(error).split())[:300]
    return words if isinstance(error, (OSError, ValueError, RuntimeError)) else f"{type(error).__name__}: {words}"
