"""Bases: models that experts are trained on. Those of this drawer come with the package or are fetched on first use; any
other causal or sequence-to-sequence model is named by its folder, its Hugging Face id or its GGUF file.
"""

import hashlib
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn

from yosegi import registry
from yosegi.bases._gguf import converted
from yosegi.bases._options import DTYPES, LoadSettings, choose_device, choose_dtype, choose_template, cpu_has_bf16
from yosegi.bases._weights import CAUSAL, SEQ2SEQ, hub_folder, read_model, weight_files, weights_hash
from yosegi.core.model import left_out
from yosegi.errors import Corrupt, MissingExtra, NoData, UnknownName

__all__ = [
    "DTYPES", "Base", "LoadSettings", "choose_device", "choose_dtype", "choose_template", "cpu_has_bf16", "fetched", "hub_folder",
    "load", "locate", "read", "short_hash", "weight_files", "weights_hash",
]  # fmt: skip

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
    on the 4-bit base fits the whole one as well, and says on its card which it was. `chat_template` is the Jinja text in which
    prompts are put (engine/chat.py); with "" they are plain.
    """

    name: str
    hash: str
    model: nn.Module
    tokenizer: Any
    dtype: str = "fp32"
    chat_template: str = ""

    @property
    def seq2seq(self) -> bool:
        """Whether it is an encoder-decoder."""
        return bool(self.model.config.is_encoder_decoder)  # type: ignore[union-attr]

    @property
    def reads(self) -> dict[str, str]:
        """What cards and results say of how the base was read, beyond its hash: nothing in fp32 with plain prompts."""
        known = {"dtype": self.dtype if self.dtype != "fp32" else "", "chat_template": short_hash(self.chat_template)}
        return {key: value for key, value in known.items() if value}


def short_hash(template: str) -> str:
    """Returns what a chat template is known by: 8 hex digits; "" for plain prompts."""
    return hashlib.sha256(template.encode()).hexdigest()[:8] if template else ""


def load(
    name: str,
    dtype: str = "auto",
    load_in_4bit: bool = False,
    device: str = "auto",
    attn_implementation: str = "auto",
    chat_template: str = "auto",
) -> Base:
    """Returns a base by its name here, its folder, its GGUF file or its Hub id. Pickles are never read.

    Args:
        name: `nano`, `smollm2`, a folder, a .gguf file, or an id such as "Qwen/Qwen3-0.6B-Base".
        dtype: precision of the weights: auto, fp32 or bf16 (`LoadSettings` says what auto is).
        load_in_4bit: the blocks' linears in NF4 with nested scales (Dettmers et al. 2023, "QLoRA", arXiv:2305.14314); the rest
            in `dtype` on a CPU, in bf16 on a GPU.
        device: auto is the GPU if there is one.
        attn_implementation: of transformers.
        chat_template: auto (the tokenizer's, if it has one), none, or a file.

    Raises:
        Corrupt: the folder does not hold a whole model with a tokenizer that fits it.
        MissingExtra: 4 bits without bitsandbytes.
        NoData: it is not here, and the Hub does not give it.
    """
    from transformers import AutoConfig

    if dtype not in ("auto", *DTYPES):
        raise UnknownName.among("dtype", dtype, ("auto", *DTYPES))
    if load_in_4bit and find_spec("bitsandbytes") is None:
        raise MissingExtra.named("bitsandbytes", "quant")
    device, folder = choose_device(device), fetched(locate(name))
    options: dict[str, Any] = {} if attn_implementation == "auto" else {"attn_implementation": attn_implementation}
    chosen = dtype
    if load_in_4bit:
        chosen = "fp32" if dtype == "auto" else dtype
        options |= _nf4(chosen, device)
    else:
        with suppress(Exception):  # a damaged config is named below
            chosen = choose_dtype(dtype, AutoConfig.from_pretrained(folder), device)
        options["dtype"] = DTYPES.get(chosen, torch.float32)
    model, tokenizer, folder = read(str(folder), **options)
    _check_tokenizer(tokenizer, model, folder)
    if "OMP_NUM_THREADS" not in os.environ and sum(p.numel() for p in model.parameters()) < SMALL:
        torch.set_num_threads(1)
    _keep_trainable(model)
    if rest := left_out(model):
        print(rest, file=sys.stderr)
    if dtype == "auto" and chosen == "bf16" and device == "cpu":
        print(f"{name} is held in bf16, which this CPU computes faster (--dtype fp32: exactly).", file=sys.stderr)
    model.to(device).eval()  # type: ignore[arg-type]
    dtype = "4bit" if getattr(model, "is_loaded_in_4bit", False) else chosen
    return Base(name, weights_hash(folder), model, tokenizer, dtype, choose_template(chat_template, tokenizer))


def read(
    place: str, what: str = "base", kinds: Sequence[str] = (), unused: str = r"\b\B", **options: Any
) -> tuple[Any, Any, Path]:
    """Returns a model with its tokenizer and its folder. It is loaded whole, or refused in one line.

    Args:
        place: a folder, or a Hub id.
        what: the word for it in errors.
        kinds: transformers' tables of architectures to look in; by default those that write text.
        unused: a pattern of tensors that may be missing or left over.
        options: more for `from_pretrained`.
    """
    from transformers import AutoConfig, AutoTokenizer
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    folder = fetched(place, what)
    try:
        config = AutoConfig.from_pretrained(folder)
        if hasattr(config, "quantization_config"):  # it is packed already, however that was
            options = {key: options[key] for key in ("dtype", "attn_implementation") if key in options}
        if hasattr(config, "rescale_every"):  # RWKV would divide weights in place whenever it stops training, for fp16
            config.rescale_every = 0
        kinds = kinds or (SEQ2SEQ if config.is_encoder_decoder else CAUSAL)
        model = read_model(folder, config, kinds, unused, **options)
        if not any(folder.glob("*token*")):
            raise Corrupt("it has no tokenizer: save one beside it (tokenizer.save_pretrained).")
        return model, AutoTokenizer.from_pretrained(folder), folder
    except Exception as error:  # whatever a damaged file makes of the libraries that read it
        raise Corrupt(f"The {what} in {folder} cannot be loaded: {_line(error)}") from error


def fetched(place: str, what: str = "base") -> Path:
    """Returns the folder of a place that `locate` gave: itself, or that of the Hub, which is fetched if need be."""
    try:
        return Path(place) if Path(place).is_dir() else hub_folder(place)
    except (OSError, ValueError) as error:
        hint = f"is no folder and could not be fetched from the Hub (hf download {place!r})"
        raise NoData(f"The {what} {place!r} {hint}: {_line(error)}") from error


def locate(name: str, fetch: bool | None = None) -> str:
    """Returns the folder, or the Hub id, that a name stands for.

    Args:
        name: as for `load`. A GGUF file is converted, once.
        fetch: whether a base of this drawer is fetched if it is not here; by default unless $HF_HUB_OFFLINE is set.
    """
    if name in registry.names("bases"):
        return str(registry.load("bases", name).folder(fetch))
    if name and Path(name).is_dir():
        return name
    if name.endswith(".gguf"):
        if not Path(name).is_file():
            raise NoData(f"There is no file {name!r}.")
        return str(converted(Path(name), (SEQ2SEQ, CAUSAL)))
    if name.count("/") == 1 and not name.startswith((".", "/")):
        return name
    raise UnknownName.among("base, nor a folder,", name, registry.names("bases"))


def _check_tokenizer(tokenizer: Any, model: Any, folder: Path) -> None:
    """Refuse a tokenizer whose tokens the model does not know, or whose texts have no end. Without a token to pad with, or with
    one outside the embedding, it pads with the end of a text: what is padded is masked everywhere."""
    rows = model.get_input_embeddings().weight.shape[0]
    outside = {word for word, token in tokenizer.get_vocab().items() if token >= rows}
    if tokenizer.eos_token_id is None:
        raise Corrupt(f"The tokenizer in {folder} has no end-of-text token: set eos_token in tokenizer_config.json.")
    extra = {str(token) for token in tokenizer.added_tokens_decoder.values()}  # that no text of ours contains
    if strange := sorted(outside - extra | outside & {tokenizer.bos_token, tokenizer.eos_token}):
        raise Corrupt(f"The tokenizer in {folder} does not fit: {strange[0]!r} is outside the {rows} embeddings.")
    if (pad := tokenizer.pad_token) in outside:
        print(f"Warning: {pad} is outside the {rows} embeddings; padding with the end.", file=sys.stderr)
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
    words = str(error) if isinstance(error, Corrupt) else " ".join(str(error).split())[:300]
    return words if isinstance(error, (OSError, ValueError, RuntimeError)) else f"{type(error).__name__}: {words}"
