"""The state of one training: safetensors and JSON, whole or not there. Resuming from it is exact to the last bit on a CPU.

checkpoint/state.safetensors   what trains, what the optimizer remembers of it, the random generators
checkpoint/state.json          what is being trained, how far it is, the schedule
checkpoint/trainer_state.json  the Trainer's own counters
"""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from yosegi import files
from yosegi.errors import Corrupt, Invalid


def save_state(
    folder: Path,
    parameters: Mapping[str, Tensor],
    optimizer: torch.optim.Optimizer,
    schedule: Mapping[str, Any],
    what: Mapping[str, Any],
) -> None:
    """Write a checkpoint into a folder that exists (files.new_folder makes it appear at once).

    Args:
        folder: where.
        parameters: what trains, by name.
        optimizer: over the same parameters, in the same order.
        schedule: the learning-rate schedule's state.
        what: what is being trained; a resume is refused when it differs.
    """
    tensors = {f"parameter.{name}": p.detach().contiguous() for name, p in parameters.items()}
    for index, memory in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{key}": torch.as_tensor(value).contiguous() for key, value in memory.items()}
    tensors |= {f"rng.{name}": state for name, state in _rng().items()}
    save_file({name: tensor.cpu() for name, tensor in tensors.items()}, folder / "state.safetensors")
    python = random.getstate()
    files.write_json(
        folder / "state.json",
        {"what": dict(what), "schedule": dict(schedule), "python_rng": [python[0], list(python[1]), python[2]]},
    )


def check(folder: Path, what: Mapping[str, Any]) -> None:
    """Refuse to go on with a checkpoint of another training."""
    saved = files.read_json(folder / "state.json").get("what", {})
    every = dict.fromkeys([*what, *saved])
    changed = [
        f"{key} was {saved.get(key)!r}, is {what.get(key)!r}" for key in every if saved.get(key) != what.get(key)
    ]
    if changed:
        raise Invalid(
            f"The checkpoint in {folder} is of another training: {'; '.join(changed[:3])}. "
            "Repeat the command that began it to go on with it, or start anew with --fresh."
        )


@torch.no_grad()
def load_parameters(folder: Path, parameters: Mapping[str, Tensor], places: Sequence[int] | None = None) -> None:
    """Put the trained values back; with `places`, only these of the first axis."""
    tensors = _tensors(folder)
    for name, parameter in parameters.items():
        value = tensors[f"parameter.{name}"]
        parameter.copy_(value if places is None else value[list(places)])


def load_optimizer(folder: Path, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Put back what the optimizer remembers; returns the schedule's state."""
    memory: dict[int, dict[str, Tensor]] = {}
    for key, value in _tensors(folder).items():
        if key.startswith("optimizer."):
            _, index, what = key.split(".")
            memory.setdefault(int(index), {})[what] = value
    schedule = files.read_json(folder / "state.json")["schedule"]
    groups = optimizer.state_dict()["param_groups"]
    for group, rate in zip(groups, schedule["_last_lr"], strict=True):
        group["lr"] = rate  # a schedule sets it only after its next step
    optimizer.load_state_dict({"state": memory, "param_groups": groups})
    return schedule


def load_rng(folder: Path) -> None:
    """Put the random generators back."""
    tensors = _tensors(folder)
    torch.set_rng_state(tensors["rng.torch"])
    if torch.cuda.is_available() and "rng.cuda" in tensors:
        torch.cuda.set_rng_state(tensors["rng.cuda"])
    keys, place = tensors["rng.numpy"][:-1], int(tensors["rng.numpy"][-1])
    np.random.set_state({"bit_generator": "MT19937", "state": {"key": keys.numpy().astype(np.uint32), "pos": place}})
    version, state, gauss = files.read_json(folder / "state.json")["python_rng"]
    random.setstate((version, tuple(state), gauss))


def _rng() -> dict[str, Tensor]:
    numpy: Any = np.random.get_state(legacy=False)
    words = [*numpy["state"]["key"].tolist(), numpy["state"]["pos"]]
    states = {"torch": torch.get_rng_state(), "numpy": torch.tensor(words)}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def _tensors(folder: Path) -> dict[str, Tensor]:
    try:
        return load_file(folder / "state.safetensors")
    except Exception as error:  # safetensors raises its own, undocumented types
        raise Corrupt(
            f"{folder / 'state.safetensors'} cannot be read ({error}). Delete {folder} to start anew."
        ) from error
