"""The weight files of a model: which they are, their hash, and the model they make. Errors here are the second half of a sentence
("…cannot be loaded: it has no model.safetensors"); `bases.read` says of which folder.

The hash is one of tensors, not of files: sha256 over the sorted names, types, shapes and contents. However the weights are cut
into files, and whatever else lies in the folder (adapters, other formats), it stays the same.
"""

import hashlib
import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from yosegi.errors import Corrupt

SEQ2SEQ = ("MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING",)
CAUSAL = ("MODEL_FOR_CAUSAL_LM_MAPPING", "MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING")
SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
SMALL_FILES = ["*.json", "*.txt", "*.model", "*.jinja"]  # what a model of the Hub has beside its weights
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
PIECE = 2**22
"""Bytes that are read at a time for the hash."""
DAMAGED = (ValueError, LookupError, TypeError, AttributeError)  # what JSON of an unexpected form ends in

WRAPPERS = {
    r"_orig_mod\.": "; it was saved from inside torch.compile, so save model._orig_mod instead",
    r"base_model\.model\.|.*\.base_layer\.": "; it was saved from inside PEFT, so save model.merge_and_unload() instead",
    r"module\.": "; it was saved from inside DataParallel, so save model.module instead",
}
"""How a wrapper changes the names of the tensors, and what to do about it."""


def hub_folder(name: str, local: bool = False) -> Path:
    """Returns the local folder of a model on the Hub, given its id; with `local`, from the cache only. Of its weights only those
    that are loaded are fetched."""
    from huggingface_hub import snapshot_download

    folder = Path(snapshot_download(name, allow_patterns=SMALL_FILES, local_files_only=local))
    weights = _indexed(folder) if (folder / INDEX).is_file() else [SINGLE]
    folder = Path(snapshot_download(name, allow_patterns=weights, local_files_only=local))
    weight_files(folder)
    return folder


def weight_files(folder: Path) -> list[Path]:
    """Returns the files that make the model: model.safetensors, or else those that its index names."""
    if (folder / SINGLE).is_file():
        return [folder / SINGLE]
    if not (folder / INDEX).is_file():
        if (folder / "adapter_config.json").is_file():
            raise Corrupt("it holds a PEFT adapter, not a model (yosegi library import).")
        other = sorted(file.name for ending in ("*.safetensors", "*.bin", "*.gguf") for file in folder.glob(ending))
        raise Corrupt(f"it has no {SINGLE}, nor {INDEX}.{f' {other[0]} is not read.' if other else ''}")
    names = _indexed(folder)
    if missing := [name for name in names if not (folder / name).is_file()]:
        raise Corrupt(f"{_listed(missing)} of its {INDEX} is not there.")
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
def _digests(file: Path, size: int, _time: int) -> list[tuple[str, ...]]:
    """(name, type, shape, sha256) of every tensor of a file. It is read once in a process, unless it changes."""
    try:
        with (
            file.open("rb") as handle,
            ThreadPoolExecutor() as pool,
        ):  # read in pieces: mapped, it would count as memory
            start = 8 + int.from_bytes(handle.read(8), "little")
            if start > size:
                raise ValueError("its header is longer than the file")
            head = json.loads(handle.read(start - 8))
            head.pop("__metadata__", None)

            def digest(entry: dict[str, Any]) -> str:
                (first, last), hashed = entry["data_offsets"], hashlib.sha256()
                for place in range(start + first, start + last, PIECE):
                    hashed.update(os.pread(handle.fileno(), min(PIECE, start + last - place), place))
                return hashed.hexdigest()

            hashes = pool.map(digest, head.values())
            return [
                (name, e["dtype"], str(e["shape"]), hashed)
                for (name, e), hashed in zip(head.items(), hashes, strict=True)
            ]
    except DAMAGED as error:
        raise Corrupt(f"{file} is no safetensors file, or damaged: {error}") from error


def read_model(folder: Path, config: Any, kinds: Sequence[str], unused: str = r"\b\B", **options: Any) -> nn.Module:
    """Returns the model of a folder, every weight of which comes from its files.

    transformers is given the tensors, not the folder: there it would also load an adapter that lies beside them.

    Args:
        folder: holds config and weights.
        config: as AutoConfig reads it.
        kinds: transformers' tables of architectures; the first that knows the config decides.
        unused: a pattern of tensors that may be missing or left over.
        options: more for `from_pretrained`.
    """
    import transformers
    from safetensors import safe_open

    tables = [getattr(transformers, kind) for kind in kinds]
    if (make := next((table[type(config)] for table in tables if type(config) in table), None)) is None:
        raise Corrupt(f"{config.model_type!r} is another kind of model.")
    with ExitStack() as opened:
        shards = [opened.enter_context(safe_open(file, "pt")) for file in weight_files(folder)]
        places = {name: shard for shard in shards for name in shard.keys()}  # noqa: SIM118 - it is no dict
        tensors = {name: shard.get_slice(name) for name, shard in places.items()}
        model, report = make.from_pretrained(
            None, config=config, state_dict=tensors, output_loading_info=True, ignore_mismatched_sizes=True, **options
        )
        missing, strange = (
            sorted(name for name in report[keys] if not re.match(unused, name))
            for keys in ("missing_keys", "unexpected_keys")
        )
        known = {*model.state_dict(), *(name for name in places if name.endswith("weight"))} - {
            *strange
        }  # no causal masks
        infinite = sorted(name for name in known & places.keys() if not _finite(places[name].get_tensor(name)))
    if missing:
        why = next((why for start, why in WRAPPERS.items() if any(re.match(start, name) for name in strange)), "")
        if missing == ["lm_head.weight"]:
            why = '; if the head is the embedding, say "tie_word_embeddings": true in config.json'
        raise Corrupt(f"its weights lack {_listed(missing)}{why}.")
    misfits = {*report["mismatched_keys"], *_packed_misfits(model)}
    if wrong := sorted(f"{name} {list(here)} instead of {list(due)}" for name, here, due in misfits):
        raise Corrupt(f"its config does not fit {_listed(wrong)}.")
    if infinite:
        raise Corrupt(f"not every number of {_listed(infinite)} is finite.")
    if strange:
        print(f"Warning: {make.__name__} has no place for {_listed(strange)} of {folder}; left out.", file=sys.stderr)
    if (folder / "generation_config.json").is_file():
        model.generation_config = transformers.GenerationConfig.from_pretrained(folder)
    return model


def _packed_misfits(model: nn.Module) -> Iterator[tuple[str, tuple[int, ...], tuple[int, ...]]]:
    """4-bit linears of another shape than their weights, which transformers does not report: name, shape here and due."""
    for name, module in model.named_modules():
        if (state := getattr(getattr(module, "weight", None), "quant_state", None)) is not None:
            here, due = tuple(state.shape), (module.out_features, module.in_features)
            if here != due:
                yield f"{name}.weight", here, due  # type: ignore[misc]


def _finite(tensor: torch.Tensor) -> bool:
    return tensor.dtype not in FLOATS or not tensor.numel() or all(end.isfinite() for end in tensor.aminmax())


def _indexed(folder: Path) -> list[str]:
    try:
        names = sorted(set(json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"].values()))
        if not names or not all(isinstance(name, str) for name in names):
            raise ValueError("it names no files")
        return names
    except DAMAGED as error:
        raise Corrupt(f"{INDEX} is no index of weights ({error}).") from error


def _listed(names: list[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
