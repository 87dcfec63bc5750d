"""The weight files of a base: which they are, their hash, and the model they make.

The hash is one of tensors, not of files: sha256 over the sorted names, types, shapes and contents. However the weights are cut
into files, and whatever else lies in the folder (adapters, other formats), it stays the same.
"""

import hashlib
import json
import mmap
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from yosegi.errors import Corrupt

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
SMALL_FILES = ("*.json", "*.txt", "*.model", "*.jinja")
"""What a base has beside its weights, as the Hub is asked for it."""

WRAPPERS = {
    "_orig_mod.": "it was saved from inside torch.compile, so save model._orig_mod instead",
    "base_model.model.": "it was saved from inside PEFT, so save model.merge_and_unload() instead",
    "module.": "it was saved from inside DataParallel, so save model.module instead",
}
"""Beginnings that a wrapper puts before the names of the tensors, and what to do about them."""


def hub_folder(name: str, local: bool = False) -> Path:
    """Returns the local folder of a model on the Hub. Of its weights only those that are loaded are fetched.

    Args:
        name: the Hub id.
        local: look in the cache only.
    """
    from huggingface_hub import snapshot_download

    folder = Path(snapshot_download(name, allow_patterns=list(SMALL_FILES), local_files_only=local))
    weights = _indexed(folder) if (folder / INDEX).is_file() else [SINGLE]
    folder = Path(snapshot_download(name, allow_patterns=weights, local_files_only=local))
    weight_files(folder)
    return folder


def weight_files(folder: Path) -> list[Path]:
    """Returns the files that make the model: model.safetensors, or else those that its index names.

    Raises:
        Corrupt: there is neither, or a file of the index is missing.
    """
    if (folder / SINGLE).is_file():
        return [folder / SINGLE]
    if not (folder / INDEX).is_file():
        if (folder / "adapter_config.json").is_file():
            raise Corrupt(f"{folder} holds a PEFT adapter, not a model: yosegi library import {folder}")
        other = sorted(file.name for ending in ("*.safetensors", "*.bin", "*.gguf") for file in folder.glob(ending))
        there = f" Of {', '.join(other[:3])} nothing is read." if other else ""
        raise Corrupt(f"The base in {folder} cannot be loaded: it has no {SINGLE}, nor {INDEX}.{there}")
    names = _indexed(folder)
    if missing := [name for name in names if not (folder / name).is_file()]:
        raise Corrupt(f"The base in {folder} cannot be loaded: {_listed(missing)} of its {INDEX} is not there.")
    return [folder / name for name in names]


def weights_hash(folder: str | Path) -> str:
    """Returns the first 12 hex digits of the hash of a model's tensors, given its folder or its Hub id."""
    folder = Path(folder) if Path(folder).is_dir() else hub_folder(str(folder), local=True)
    tensors: list[tuple[str, ...]] = []
    for file in weight_files(folder):
        status = file.stat()
        tensors += _digests(file.resolve(), status.st_size, status.st_mtime_ns)
    return hashlib.sha256(json.dumps(sorted(tensors)).encode()).hexdigest()[:12]


@cache
def _digests(file: Path, _size: int, _time: int) -> list[tuple[str, ...]]:
    """(name, type, shape, sha256) of every tensor of a file. It is read once in a process, unless it changes."""
    try:
        with file.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as content:
            start = 8 + int.from_bytes(content[:8], "little")
            head = json.loads(content[8:start])
            head.pop("__metadata__", None)
            with memoryview(content) as view, ThreadPoolExecutor() as pool:

                def digest(entry: dict[str, Any]) -> str:
                    first, last = entry["data_offsets"]
                    with view[start + first : start + last] as data:
                        return hashlib.sha256(data).hexdigest()

                found = zip(head.items(), pool.map(digest, head.values()), strict=True)
                return [(name, entry["dtype"], str(entry["shape"]), hashed) for (name, entry), hashed in found]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise Corrupt(f"{file} is no safetensors file, or damaged: {error}") from error


def read_model(folder: Path, config: Any, **options: Any) -> nn.Module:
    """Returns the model of a folder, every weight of which comes from its files.

    transformers is given the tensors, not the folder: there it would also load an adapter that lies beside them.

    Raises:
        Corrupt: tensors are missing, have another shape or hold numbers that are not finite.
    """
    from safetensors import safe_open

    make = _architecture(config)
    with ExitStack() as opened:
        shards = [opened.enter_context(safe_open(file, "pt")) for file in weight_files(folder)]
        tensors = {name: shard.get_slice(name) for shard in shards for name in shard.keys()}  # noqa: SIM118 - no dict
        model, report = make.from_pretrained(
            None, config=config, state_dict=tensors, output_loading_info=True, ignore_mismatched_sizes=True, **options
        )
        strange = sorted(report["unexpected_keys"])
        known = model.state_dict().keys()  # the file may name some otherwise, and may hold masks with -inf
        names = [(shard, name) for shard in shards for name in shard.keys() if name in known or name.endswith("weight")]  # noqa: SIM118
        infinite = [name for shard, name in names if name not in strange and not _finite(shard.get_tensor(name))]
    wrapped = next((why for start, why in WRAPPERS.items() if any(name.startswith(start) for name in strange)), "")
    if any(".base_layer." in name for name in strange):
        wrapped = WRAPPERS["base_model.model."]
    if wrong := sorted(report["missing_keys"]):
        why = f"; {wrapped}" if wrapped else ""
        if wrong == ["lm_head.weight"]:
            why = '; if the head is the embedding, say "tie_word_embeddings": true in config.json'
        raise Corrupt(f"The base in {folder} cannot be loaded: its weights lack {_listed(wrong)}{why}.")
    misfits = {*report["mismatched_keys"], *_packed_misfits(model)}
    if wrong := sorted(f"{name} {list(here)} instead of {list(due)}" for name, here, due in misfits):
        raise Corrupt(f"The base in {folder} cannot be loaded: its config does not fit {_listed(wrong)}.")
    if infinite:
        raise Corrupt(f"The base in {folder} cannot be loaded: not every number of {_listed(infinite)} is finite.")
    if strange:
        print(f"Warning: {make.__name__} has no place for {_listed(strange)} of {folder}; left out.", file=sys.stderr)
    if (folder / "generation_config.json").is_file():
        from transformers import GenerationConfig

        model.generation_config = GenerationConfig.from_pretrained(folder)
    return model


def _architecture(config: Any) -> Any:
    """The class that writes text with a model of this config: of a multimodal one, the whole model."""
    import transformers

    causal, images = transformers.MODEL_FOR_CAUSAL_LM_MAPPING, transformers.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
    kinds = (transformers.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING,) if config.is_encoder_decoder else (causal, images)
    for kind in kinds:
        if type(config) in kind:
            return kind[type(config)]
    raise ValueError(f"{config.model_type!r} is no model that writes text")


def _packed_misfits(model: nn.Module) -> Iterator[tuple[str, tuple[int, ...], tuple[int, ...]]]:
    """4-bit linears of another shape than their weights, which transformers does not report: name, shape here and due."""
    for name, module in model.named_modules():
        if (state := getattr(getattr(module, "weight", None), "quant_state", None)) is not None:
            here, due = tuple(state.shape), (module.out_features, module.in_features)
            if here != due:
                yield f"{name}.weight", here, due  # type: ignore[misc]


def _finite(tensor: torch.Tensor) -> bool:
    if tensor.dtype not in (torch.float16, torch.bfloat16, torch.float32, torch.float64) or not tensor.numel():
        return True
    return all(extreme.isfinite() for extreme in tensor.aminmax())


def _indexed(folder: Path) -> list[str]:
    try:
        names = sorted(set(json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"].values()))
        if not names or not all(isinstance(name, str) for name in names):
            raise ValueError("it names no files")
        return names
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise Corrupt(f"The base in {folder} cannot be loaded: {INDEX} is no index of weights ({error}).") from error


def _listed(names: list[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
