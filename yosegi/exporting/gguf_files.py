"""GGUF, the format of llama.cpp: a merged model with its tokenizer, or one expert as a LoRA adapter.

Names of tensors are those of the `gguf` package. Where a family computes otherwise in llama.cpp than in transformers, the numbers
are laid out as it wants them:

    llama      rows of q and k: a head's two rotary halves lie side by side, [2, D/2] becomes [D/2, 2]; so do rows of their B
    gemma      norms are stored as 1 + w
    llama 3.1  the factors of its frequencies are a tensor, rope_freqs

What llama.cpp would not compute as transformers does is refused by name.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from yosegi.bases import Base
from yosegi.core.expert import Expert
from yosegi.errors import Invalid, UnknownName
from yosegi.exporting.merged import tensors
from yosegi.exporting.vocabulary import vocabulary

FAMILIES = {
    "llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3",
    "gemma": "gemma", "gemma2": "gemma2", "gemma3_text": "gemma3",
}  # fmt: skip
"""What transformers calls a family, and what llama.cpp does."""
TYPES = {"fp32": "F32", "fp16": "F16", "bf16": "BF16", "q8_0": "Q8_0"}
FILE_TYPES = {"fp32": 0, "fp16": 1, "bf16": 32, "q8_0": 7}
"""llama.cpp's number for a file most of whose tensors are of a type."""


def write_gguf(base: Base, expert: Expert | None, folder: Path, dtype: str, about: Mapping[str, Any]) -> Path:
    """Writes the merged model into one file, tensor by tensor, and returns it. Vectors stay fp32, as llama.cpp has them."""
    import gguf

    config: Any = base.model.config
    arch, name_of = _family(config)
    rows = base.model.get_input_embeddings().weight.shape[0]  # type: ignore[operator]
    file = folder / f"{about['name']}-{dtype}.gguf"
    writer = gguf.GGUFWriter(file, arch)
    writer.add_type("model")
    _general(writer, about)
    writer.add_file_type(FILE_TYPES[dtype])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    _hyperparameters(writer, config, arch, rows)
    vocabulary(writer, base, rows)

    def plan(name: str, value: Tensor) -> tuple[str, gguf.GGMLQuantizationType]:
        kind = gguf.GGMLQuantizationType[TYPES[dtype] if value.dim() > 1 else "F32"]
        block = gguf.GGML_QUANT_SIZES[kind][0]
        return name_of(name), kind if value.shape[-1] % block == 0 else gguf.GGMLQuantizationType.F16

    extra = _frequencies(base.model, config)
    shapes = [(name, p) for name, p in base.model.named_parameters()]
    for name, value in shapes:
        written, kind = plan(name, value)
        block, size = gguf.GGML_QUANT_SIZES[kind]
        writer.add_tensor_info(written, value.shape, np.dtype(np.float32), value.numel() // block * size, kind)
    if extra is not None:
        writer.add_tensor_info("rope_freqs.weight", extra.shape, np.dtype(np.float32), extra.numel() * 4)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for name, value in tensors(base, expert):
        if name in dict(shapes):
            writer.write_tensor_data(_encoded(name, _as_llama_cpp(value, name, config, arch), plan(name, value)[1]))
    if extra is not None:
        writer.write_tensor_data(extra.numpy())
    writer.close()
    return file


def write_adapter(base: Base, expert: Expert, folder: Path, dtype: str, about: Mapping[str, Any]) -> dict[str, Any]:
    """Writes an expert of one rank and scale as an adapter for llama.cpp (--lora FILE), and returns what it is.

    llama.cpp computes W x + alpha / rank · B A x.
    """
    import gguf

    dtype = "fp32" if dtype == "auto" else dtype
    config: Any = base.model.config
    arch, name_of = _family(config)
    file = folder / f"{about['name']}-lora-{dtype}.gguf"
    writer = gguf.GGUFWriter(file, arch)
    _general(writer, about)
    writer.add_type("adapter")
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    scale = next(iter(expert.factors.values())).scale
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, scale * expert.rank)
    writer.add_file_type(FILE_TYPES[dtype])
    for layer, f in expert.factors.items():
        name = name_of(f"{layer}.weight")
        B_OR = _as_llama_cpp(f.B_OR.float(), f"{layer}.weight", config, arch)
        for letter, value in (("a", f.A_RI.float()), ("b", B_OR)):
            encoded = _encoded(f"{name}.lora_{letter}", value, gguf.GGMLQuantizationType[TYPES[dtype]])
            writer.add_tensor(f"{name}.lora_{letter}", encoded)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return {"dtype": dtype, "file": file.name, "rank": expert.rank, "linears": len(expert.factors)}


def _family(config: Any) -> tuple[str, Callable[[str], str]]:
    """Returns llama.cpp's name of the architecture, and the function that names its tensors."""
    import gguf

    if (kind := config.model_type) not in FAMILIES:
        raise UnknownName.among("family that GGUF is written of", kind, FAMILIES)
    architectures = {name: number for number, name in gguf.MODEL_ARCH_NAMES.items()}
    names = gguf.get_tensor_name_map(architectures[FAMILIES[kind]], config.num_hidden_layers)

    def name_of(key: str) -> str:
        if (name := names.get_name(key, (".weight", ".bias"))) is None:
            raise Invalid(f"GGUF has no name for {key} of a {kind}.")
        return name

    return FAMILIES[kind], name_of


def _general(writer: Any, about: Mapping[str, Any]) -> None:
    writer.add_name(about["name"])
    writer.add_description(f"{about['arm']} of {about['base']} (weights {about['base_hash']}), by yosegi")
    if about.get("license"):
        writer.add_license(about["license"])


def _as_llama_cpp(value: Tensor, name: str, config: Any, arch: str) -> Tensor:
    """Returns the numbers of a tensor (or of B, whose rows are those of its weight) as llama.cpp lays them out."""
    projection = name.split(".")[-2]
    if arch == "llama" and projection in ("q_proj", "k_proj"):
        heads = config.num_attention_heads if projection == "q_proj" else config.num_key_value_heads
        halves = value.reshape(heads, 2, value.shape[0] // heads // 2, *value.shape[1:])
        return halves.swapaxes(1, 2).reshape(value.shape)
    return value + 1 if arch.startswith("gemma") and name.endswith("norm.weight") else value


def _encoded(name: str, value: Tensor, kind: Any) -> np.ndarray:
    """Returns the bytes of a tensor in a type of GGML."""
    import gguf

    numbers = value.contiguous().cpu().numpy()
    if kind.name == "F32":
        return numbers
    with np.errstate(over="ignore"):
        encoded = numbers.astype(np.float16) if kind.name == "F16" else gguf.quants.quantize(numbers, kind)
    if kind.name == "F16" and not np.isfinite(encoded).all():
        raise Invalid(f"{name} does not fit into fp16: --dtype bf16 or fp32 holds it.")
    return encoded


def _hyperparameters(writer: Any, config: Any, arch: str, rows: int) -> None:
    """Writes what llama.cpp has to know of the model."""
    import gguf

    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    gemma, window = arch.startswith("gemma"), getattr(config, "sliding_window", None)
    _check(config, arch, head)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(head)
    writer.add_vocab_size(rows)
    rope = config.rope_parameters
    whole = rope.get("full_attention", rope)
    writer.add_rope_freq_base(whole["rope_theta"])
    if whole["rope_type"] == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(whole["factor"])
    if "sliding_attention" in rope:
        writer.add_rope_freq_base_swa(rope["sliding_attention"]["rope_theta"])
    if gemma and window:
        writer.add_sliding_window(window)
    for name in ("attn_logit_softcapping", "final_logit_softcapping"):
        if gemma and getattr(config, name, None):
            getattr(writer, f"add_{name}")(getattr(config, name))


def _check(config: Any, arch: str, head: int) -> None:
    """Refuses what llama.cpp would compute otherwise."""
    rope = config.rope_parameters
    kinds = {one["rope_type"] for one in rope.values()} if "full_attention" in rope else {rope["rope_type"]}
    known = {"default", "linear"} | ({"llama3"} if arch == "llama" else set())
    window = getattr(config, "sliding_window", None) or config.max_position_embeddings
    every = [kind == "full_attention" for kind in getattr(config, "layer_types", None) or []]
    scalar = getattr(config, "query_pre_attn_scalar", head)
    at_27b = config.num_hidden_layers in (46, 62) and scalar == config.hidden_size // config.num_attention_heads
    activation = None if arch.startswith("gemma") else config.hidden_act
    pattern = {"gemma2": 2, "gemma3": 6}.get(arch)
    faults = {
        f"its rotary embedding is scaled by {min(kinds - known, default='')}": bool(kinds - known),
        f"its activation is {activation}": activation not in ("silu", None),
        f"its attention is scaled by query_pre_attn_scalar {scalar}": scalar != head and not at_27b,
        "its layers attend to a window": pattern is None and (not all(every) or window < config.max_position_embeddings),
        f"not every {pattern}th of its layers alone attends to all": pattern is not None
        and bool(every) and every != [(n + 1) % pattern == 0 for n in range(len(every))],
    }  # fmt: skip
    for fault, present in faults.items():
        if present:
            raise Invalid(f"llama.cpp does not compute this {config.model_type} as transformers does: {fault}.")


def _frequencies(model: Any, config: Any) -> Tensor | None:
    """Returns by what Llama 3.1 divides each of its rotary frequencies; None for other models."""
    rope = config.rope_parameters
    if rope.get("rope_type") != "llama3":
        return None
    scaled = model.model.rotary_emb.inv_freq.float().cpu()
    plain = 1.0 / rope["rope_theta"] ** (torch.arange(0, 2 * len(scaled), 2).float() / (2 * len(scaled)))
    return plain / scaled
