"""Whole weights: the result of training W itself (full fine-tuning, or GaLore before its delta is cut to an expert).

    FOLDER/weights.json           the base it belongs to, and the sha256 of the weights
           weights.safetensors    the weights that moved, by their name in the model

They replace those of the base while an arm answers; the base's own, which are never copied, are then put back.
"""

import hashlib
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from yosegi import files
from yosegi.bases import Base
from yosegi.errors import Corrupt, Invalid, NoData, WrongBase
from yosegi.library.mapped import mapped

CARD, WEIGHTS = "weights.json", "weights.safetensors"


def save_weights(folder: Path, base: Base, weights: Mapping[str, Tensor]) -> None:
    """Writes the weights that a training of this base has moved, by their name in the model."""
    with files.new_folder(folder) as new:
        save_file({name: value.detach().cpu().contiguous() for name, value in weights.items()}, new / WEIGHTS)
        with (new / WEIGHTS).open("rb") as file:
            written = hashlib.file_digest(file, "sha256").hexdigest()
        card = {
            "base": base.name,
            "base_hash": base.hash,
            "parameters": sum(value.numel() for value in weights.values()),
        }
        files.write_json(new / CARD, {**card, "sha256": written})


def read_weights(folder: Path) -> dict[str, Any]:
    """Returns weights.json.

    Raises:
        NoData: there are no weights in this folder. Corrupt: the file is damaged.
    """
    if not (folder / CARD).is_file():
        raise NoData(f"{folder} holds no weights: {CARD} and {WEIGHTS} are what a training of whole weights leaves.")
    card = files.read_json(folder / CARD)
    if not isinstance(card, dict) or "base_hash" not in card or "sha256" not in card:
        raise Corrupt(f"{folder / CARD} does not say which base its weights belong to.")
    return card


@contextmanager
def swapped(base: Base, folder: Path) -> Generator[None]:
    """Computes with these weights while the block lasts, in the precision of the base: in bf16 they are rounded to it.

    Raises:
        WrongBase: they belong to another base. Corrupt: they are damaged. Invalid: they do not fit the model.
    """
    card = read_weights(folder)
    if card["base_hash"] != base.hash:
        raise WrongBase(
            f"The weights in {folder} belong to {card['base']}@{card['base_hash'][:4]}; this is {base.name}@{base.hash[:4]}."
        )
    weights = mapped(folder / WEIGHTS)
    if files.sha256(folder / WEIGHTS) != card["sha256"]:
        raise Corrupt(f"{folder / WEIGHTS} is not what was written.")
    parameters = dict(base.model.named_parameters(remove_duplicate=False))
    for name, value in weights.items():
        if name not in parameters or parameters[name].shape != value.shape:
            raise Invalid(
                f"The model has no parameter {name} of shape {tuple(value.shape)}, as {folder / WEIGHTS} has."
            )
    own = {name: parameters[name].data for name in weights}
    try:
        with torch.no_grad():
            for name, value in weights.items():
                parameters[name].data = value.to(own[name])
        yield
    finally:
        for name, value in own.items():
            parameters[name].data = value
