"""The state of one training: safetensors and JSON, whole or not there. Resuming from it is exact to the last bit on a CPU.

checkpoint/NAME/state.safetensors   what is trained, the state of the optimiser, torch's random generators
checkpoint/NAME/state.json          what is being trained, how far it is, the learning rates, the other random generators
"""

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from yosegi import files
from yosegi.errors import Corrupt, Invalid


def save(
    folder: Path,
    parameters: Mapping[str, Tensor],
    optimizer: torch.optim.Optimizer,
    identity: Mapping[str, Any],
    progress: Mapping[str, Any],
) -> None:
    """Writes a checkpoint, whole or not at all.

    Args:
        folder: of the checkpoint; one that is there is replaced.
        parameters: what is trained, by name.
        optimizer: over the same parameters, in the same order.
        identity: what is being trained, and how; to go on with another training from here is refused.
        progress: how far it is; `load_rest` gives it back.
    """
    tensors = {f"parameter.{name}": p.detach() for name, p in parameters.items()} | {"rng.torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        tensors["rng.cuda"] = torch.cuda.get_rng_state()
    numbers: dict[str, float] = {}
    for index, memory in optimizer.state_dict()["state"].items():
        nested = [value for value in memory.values() if isinstance(value, dict)]  # bitsandbytes wraps its tables
        for key, value in [pair for level in (memory, *nested) for pair in level.items()]:
            if isinstance(value, Tensor):
                tensors[f"optimizer.{index}.{key}"] = value
            elif not isinstance(value, dict):
                numbers[f"optimizer.{index}.{key}"] = value
    kind, words, *rest = np.random.get_state()
    state = {
        "identity": dict(identity), "progress": dict(progress), "optimizer": numbers,
        "learning_rates": [group["lr"] for group in optimizer.param_groups],
        "rng.python": random.getstate(), "rng.numpy": [kind, np.asarray(words).tolist(), *rest],
    }  # fmt: skip
    with files.new_folder(folder) as new:
        save_file(dict(_apart(tensors)), new / "state.safetensors")
        files.write_json(new / "state.json", state)


def read(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the identity and the progress of the checkpoint in a folder; both are empty where there is none."""
    if not (folder / "state.json").exists():
        return {}, {}
    state = files.read_json(folder / "state.json")
    return state["identity"], state["progress"]


def check(folder: Path, identity: Mapping[str, Any]) -> None:
    """Refuses to go on with the checkpoint of another training."""
    saved, identity = read(folder)[0], json.loads(json.dumps(identity))
    changed = [
        f"{key} was {saved.get(key)!r}, is {identity.get(key)!r}"
        for key in dict.fromkeys([*identity, *saved])
        if saved.get(key) != identity.get(key)
    ]
    if changed:
        raise Invalid(
            f"The checkpoint in {folder} is of another training: {'; '.join(changed[:3])}. "
            "Repeat the command that began it to go on with it, or start anew with --no-resume."
        )


@torch.no_grad()
def load_parameters(folder: Path, parameters: Mapping[str, Tensor], places: Sequence[int] | None = None) -> None:
    """Puts the trained values back; with `places`, only these of the first axis."""
    tensors = _tensors(folder)
    for name, parameter in parameters.items():
        value = tensors[f"parameter.{name}"]
        parameter.copy_(value if places is None else value[list(places)])


def load_rest(folder: Path, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Puts back the state of the optimiser and of the random generators. Returns the progress."""
    tensors, state = _tensors(folder), files.read_json(folder / "state.json")
    memory: dict[int, dict[str, Tensor | float]] = {}
    for key, value in {**tensors, **state["optimizer"]}.items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".")
            memory.setdefault(int(index), {})[name] = value
    groups = optimizer.state_dict()["param_groups"]
    for group, rate in zip(groups, state["learning_rates"], strict=True):
        group["lr"] = rate
    optimizer.load_state_dict({"state": memory, "param_groups": groups})
    torch.set_rng_state(tensors["rng.torch"])
    if torch.cuda.is_available() and "rng.cuda" in tensors:
        torch.cuda.set_rng_state(tensors["rng.cuda"])
    np.random.set_state(tuple(state["rng.numpy"]))
    version, words, gauss = state["rng.python"]
    random.setstate((version, tuple(words), gauss))
    return state["progress"]


def _apart(tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Yields the tensors on the CPU, contiguous. Whole weights and their moments are gigabytes: only what lies transposed, or
    shares memory with another, is copied."""
    seen: set[int] = set()
    for name, tensor in tensors.items():
        tensor = tensor.contiguous().cpu()
        if (place := tensor.untyped_storage().data_ptr()) in seen:
            tensor = tensor.clone()
        seen.add(place)
        yield name, tensor


def _tensors(folder: Path) -> dict[str, Tensor]:
    try:
        return load_file(folder / "state.safetensors")
    except Exception as error:  # safetensors raises its own, undocumented types
        raise Corrupt(
            f"{folder / 'state.safetensors'} cannot be read ({error}). Delete {folder} to start anew."
        ) from error
