"""Bases: models that experts stand beside. Those of this drawer come with the package or are rebuilt by one recipe; any other
causal or sequence-to-sequence model is named by its folder or its Hugging Face id.
"""

import hashlib
import logging
import os
from collections import OrderedDict
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn

from yosegi import registry
from yosegi.errors import Corrupt, MissingExtra, NoData, UnknownName

HASHES: "OrderedDict[tuple[str, int, int], str]" = OrderedDict()
"""File (path, size, mtime) -> sha256, so that one process reads a base's weights for their hash once."""

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}

# bitsandbytes, which PEFT imports wherever it is installed, warns on CPUs with AVX512-BF16 that an optional kernel is missing.
# `load` never takes that kernel's path (`_keep_trainable`), so the warning concerns nobody.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)

SMALL = 30_000_000
"""A model of fewer parameters is computed by one thread, unless OMP_NUM_THREADS says otherwise: more of them spend ten times
as long waiting for each other."""


@dataclass
class Base:
    """A model with its tokenizer, what it is called, and the hash of its weights (first 12 hex digits).

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
    """A base by its name here, its folder, or its Hub id. Only safetensors are read.

    Args:
        name: `nano`, `house`, a folder, or an id such as "Qwen/Qwen3-0.6B-Base".
        dtype: precision of the weights: fp32 or bf16.
        load_in_4bit: the blocks' linears in NF4 with nested scales (Dettmers et al. 2023, "QLoRA", arXiv:2305.14314); the rest
            in `dtype` on a CPU, in bf16 on a GPU.
        device: by default the GPU if there is one.

    Raises:
        MissingExtra: 4 bits without bitsandbytes.
    """
    if dtype not in DTYPES:
        raise UnknownName.among("dtype", dtype, DTYPES)
    if load_in_4bit and find_spec("bitsandbytes") is None:
        raise MissingExtra.named("bitsandbytes", "quant")
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    folder, device = where(name), device or ("cuda" if torch.cuda.is_available() else "cpu")
    options = _nf4(dtype, device) if load_in_4bit else {"dtype": DTYPES[dtype]}
    try:
        config = AutoConfig.from_pretrained(folder)
        make = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
        model = make.from_pretrained(folder, use_safetensors=True, **options)
        if Path(folder).is_dir() and not any(Path(folder).glob("*token*")):
            raise Corrupt(f"The base in {folder} has no tokenizer: save one beside it (tokenizer.save_pretrained).")
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        if Path(folder).is_dir():
            raise Corrupt(f"The base in {folder} cannot be loaded: {_first_line(error)}") from error
        raise NoData(
            f"The base {name!r} is no folder and could not be fetched from the Hub: {_first_line(error)}"
        ) from error
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    if "OMP_NUM_THREADS" not in os.environ and sum(p.numel() for p in model.parameters()) < SMALL:
        torch.set_num_threads(1)
    _keep_trainable(model)
    model.to(device).eval()  # type: ignore[arg-type]
    return Base(name, weights_hash(folder), model, tokenizer, "4bit" if load_in_4bit else dtype)


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


def where(name: str) -> str:
    """The folder (or Hub id) a name stands for."""
    if name in registry.names("bases"):
        return str(registry.load("bases", name).folder())
    if Path(name).is_dir():
        return name
    if name.count("/") == 1 and not name.startswith((".", "/")):
        return name
    raise UnknownName.among("base, nor a folder,", name, registry.names("bases"))


def weights_hash(folder: str) -> str:
    """sha256 over the names and contents of a base's weight files: what an expert remembers of its base."""
    if not Path(folder).is_dir():
        from huggingface_hub import snapshot_download

        folder = snapshot_download(folder, allow_patterns=["*.safetensors"], local_files_only=True)
    digest = hashlib.sha256()
    for file in sorted(Path(folder).glob("*.safetensors")):
        digest.update(file.name.encode() + _file_hash(file).encode())
    return digest.hexdigest()[:12]


def _file_hash(file: Path) -> str:
    status = file.stat()
    key = (str(file.resolve()), status.st_size, status.st_mtime_ns)
    if key not in HASHES:
        with file.open("rb") as handle:
            HASHES[key] = hashlib.file_digest(handle, "sha256").hexdigest()
    return HASHES[key]


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:300]
