"""Experts into a library: folders of another library, and adapters as PEFT has them. Out: yosegi/exporting."""

from dataclasses import replace
from pathlib import Path

from torch import nn

from yosegi.core.expert import Expert
from yosegi.library.card import CARD, read_card
from yosegi.library.interchange import read_peft
from yosegi.library.store import Library

OF_A_COPY = ("name", "sha256", "created")
"""Fields of a card that belong to one copy of an expert, and not to the expert."""


def import_expert(
    library: Library,
    folder: str | Path,
    name: str | None = None,
    *,
    initial: str | Path | None = None,
    model: nn.Module | None = None,
    overwrite: bool = False,
) -> Expert:
    """Takes in an expert of another library, or a LoRA that PEFT wrote, and returns it.

    Args:
        library: if it knows its base, that is the expert's.
        folder: adapter_config.json and adapter_model.safetensors, and a card if it is one of ours.
        name: of the expert; by default the folder's.
        initial: the initial factors of a PiSSA or OLoRA adapter.
        model: the base, to check the shapes.
        overwrite: replace an expert of that name.
    """
    expert, card = read_peft(folder, model, initial=initial), Path(folder) / CARD
    known = dict(expert.card)
    if card.is_file():  # one of ours, which knows its base and where it comes from
        known |= {key: value for key, value in read_card(card.parent).items() if key not in OF_A_COPY}
    if library.base_hash:
        known |= {"base": library.base, "base_hash": library.base_hash}
    expert = replace(expert, name=name or Path(folder).resolve().name, card=known)
    library.add(expert, overwrite=overwrite)
    return expert
