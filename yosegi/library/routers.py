"""Routers that have learnt, kept with the experts they learnt beside.

    LIBRARY/.routers/NAME/router.json           the method and its arguments, the experts in order, where it comes from
                          router.safetensors    what it learnt (`Banks.router_state`)

What a router learnt is about these experts, in this order, and nobody else: each is remembered by the checksum of its file,
and a router whose experts are gone or changed is refused. Like an expert, it is there whole or not at all.
"""

import datetime
import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor

from yosegi import __version__, files, registry
from yosegi.core.expert import Expert
from yosegi.errors import Corrupt, Invalid, UnknownName
from yosegi.library.card import check_name
from yosegi.library.mapped import mapped
from yosegi.library.store import Library

FOLDER, CARD, WEIGHTS = ".routers", "router.json", "router.safetensors"
FIELDS = ("router", "args", "experts", "mix", "heads", "tasks", "data_hash", "recipe", "sha256")
"""What router.json has to say to be read; base, base_hash and created are for the reader."""


@dataclass(frozen=True)
class TrainedRouter:
    """A router of a library.

    Args:
        name: what it is called there.
        router: its method.
        args: its hyper-parameters.
        experts: beside whom it learnt, in order.
        learnt: what (`Banks.router_state`).
        mix: outputs or factors.
        heads: slices routed on their own.
        tasks: whose examples it learnt from.
        data_hash: of these examples.
        recipe: how it learnt.
    """

    name: str
    router: str
    args: Mapping[str, Any]
    experts: Sequence[Expert]
    learnt: Mapping[str, Tensor]
    mix: str = "outputs"
    heads: int = 1
    tasks: Sequence[str] = ()
    data_hash: str | None = None
    recipe: Mapping[str, Any] = field(default_factory=dict)


def routers(library: Library) -> list[str]:
    """The names of the routers a library keeps."""
    return sorted(path.parent.name for path in (library.path / FOLDER).glob(f"[!.]*/{CARD}"))


def save_router(library: Library, trained: TrainedRouter, *, overwrite: bool = False) -> None:
    """Put a router into the library of its experts.

    Raises:
        Invalid: the name cannot be one, or is taken and not to be overwritten; an expert has changed since it was loaded.
        UnknownName: an expert is not in the library.
    """
    folder = library.path / FOLDER / check_name(trained.name)
    cards = {expert.name: library.card(expert.name) for expert in trained.experts}
    for expert in trained.experts:
        if (loaded := expert.card.get("sha256")) and loaded != cards[expert.name].get("sha256"):
            raise Invalid(f"Expert {expert.name!r} of {library.path} is not the one that the router learnt beside.")
    weights = save({key: value.detach().cpu().contiguous() for key, value in trained.learnt.items()})
    first = next(iter(cards.values()), {})
    card = {
        "name": trained.name,
        "router": trained.router,
        "args": dict(trained.args),
        "mix": trained.mix,
        "heads": trained.heads,
        "experts": [{"name": name, "sha256": card.get("sha256")} for name, card in cards.items()],
        "base": library.base or first.get("base"),
        "base_hash": library.base_hash or first.get("base_hash"),
        "tasks": list(trained.tasks),
        "data_hash": trained.data_hash,
        "recipe": dict(trained.recipe),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "yosegi_version": __version__,
        "sha256": hashlib.sha256(weights).hexdigest(),
    }
    try:
        text = json.dumps(card, ensure_ascii=False, indent=1, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise Invalid(f"Router {trained.name!r}: its arguments cannot be written as JSON ({error}).") from error
    with library._locked(fcntl.LOCK_EX):
        _sweep(folder.parent)
        if os.path.lexists(folder) and not overwrite:
            raise Invalid(f"{library.path} has a router called {trained.name!r}. Choose another name, or overwrite it.")
        with files.new_folder(folder) as new:
            (new / WEIGHTS).write_bytes(weights)
            (new / CARD).write_text(text, encoding="utf-8")


def read_router(library: Library, name: str) -> dict[str, Any]:
    """What is known of a router; what it learnt is not looked at.

    Raises:
        UnknownName: there is none of that name. Corrupt: its file is damaged.
    """
    if name not in (known := routers(library)):
        raise UnknownName.among("router of this library", name, known)
    file = library.path / FOLDER / name / CARD
    card = files.read_json(file)
    said = card if isinstance(card, dict) else {}
    if missing := [what for what in FIELDS if what not in said]:
        raise Corrupt(f"{file} does not say {', '.join(missing)}.")
    return said


def load_router(library: Library, name: str) -> TrainedRouter:
    """A router with its experts, ready to be put beside the base.

    Raises:
        UnknownName: there is none of that name. Corrupt: its files are damaged.
        Invalid: an expert it learnt beside is gone, or is another one now.
    """
    card, folder = read_router(library, name), library.path / FOLDER / name
    learnt = mapped(folder / WEIGHTS)
    with (folder / WEIGHTS).open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != card["sha256"]:
            raise Corrupt(f"{folder / WEIGHTS} is not what was written. Fit the router again.")
    for expert in card["experts"]:
        if expert["name"] not in library:
            what = f"learnt beside expert {expert['name']!r}, which is not in {library.path} any more"
        elif library.card(expert["name"]).get("sha256") != expert["sha256"]:
            what = f"learnt beside another expert {expert['name']!r} than {library.path} has now"
        else:
            continue
        jointly = registry.find("routers", card["router"]).learns == "jointly" or "build" in card["recipe"]
        again = (
            "Train its bank again (yosegi train --build)."
            if jointly
            else f"Fit it again: yosegi train-router --router {card['router']}"
        )
        raise Invalid(f"The router {name!r} {what}. {again}")
    return TrainedRouter(
        name,
        card["router"],
        card["args"],
        library.load(expert["name"] for expert in card["experts"]),
        learnt,
        card["mix"],
        card["heads"],
        tuple(card["tasks"]),
        card["data_hash"],
        card["recipe"],
    )


def remove_router(library: Library, name: str) -> None:
    """Delete a router; its experts stay.

    Raises:
        UnknownName: there is none of that name.
    """
    read_router(library, name)
    with library._locked(fcntl.LOCK_EX):
        folder = library.path / FOLDER
        _sweep(folder)
        # First out of sight, in one step: a process killed while it deletes leaves no half of a router behind.
        (folder / name).rename(gone := Path(tempfile.mkdtemp(dir=folder, prefix=f".{name}.")))
        shutil.rmtree(gone)


def _sweep(folder: Path) -> None:
    """Tidy away what a killed writer left; a router it was replacing is put back. Only under the writer's lock."""
    for path in folder.glob(".*"):
        if not re.fullmatch(r"\..+\.[a-z0-9_]{8}", path.name) or not path.is_dir() or path.is_symlink():
            continue
        for old in path.iterdir():
            if old.is_dir() and not os.path.lexists(folder / old.name):
                old.rename(folder / old.name)
        shutil.rmtree(path)
