"""Kept arms: trained routers, weights that a search found, banks. They live in the library of their experts.

    LIBRARY/arms/NAME/arm.json             the method and its arguments, the experts in order, the training
                      state.safetensors    what the router learnt (`Banks.router_state`)

A trained router belongs to these experts in this order: arm.json has the sha256 of each expert's file, and an arm whose experts
are gone or have changed is refused. Like an expert, an arm is written whole or not at all.
"""

import datetime
import fcntl
import hashlib
import json
import os
from dataclasses import replace
from typing import Any

from safetensors.torch import save

from yosegi import __version__, files, registry
from yosegi.engine.arm import Arm
from yosegi.errors import Corrupt, Invalid, UnknownName
from yosegi.library.card import IS_OBJECT, IS_TEXT, IS_TEXTS, check_fields, check_name
from yosegi.library.mapped import mapped
from yosegi.library.store import Library

FOLDER, CARD, STATE = "arms", "arm.json", "state.safetensors"
SAVED = ("router", "router_args", "mix", "heads", "ablate", "merge", "merge_args", "tasks", "data_hash", "training")
"""The fields of an Arm that arm.json holds as they are."""
FIELDS = ("experts", *SAVED, "sha256")
"""What arm.json must have to be read; base, base_hash and created are for the reader."""
NULL = ("merge", "data_hash")
"""Those that may be null."""
KINDS = {
    **dict.fromkeys(("router", "mix", "sha256", *NULL), IS_TEXT),
    **dict.fromkeys(("router_args", "merge_args", "training"), IS_OBJECT),
    **dict.fromkeys(("ablate", "tasks"), (lambda v: isinstance(v, list) and IS_TEXTS[0](v), IS_TEXTS[1])),
    "heads": (lambda v: isinstance(v, int) and not isinstance(v, bool) and 1 <= v < 1 << 16, "a number of slices"),
    "experts": (
        lambda v: (
            isinstance(v, list)
            and all(isinstance(e, dict) and all(isinstance(e.get(k), str) for k in ("name", "sha256")) for e in v)
        ),
        "a list of experts, each with its name and sha256",
    ),
}
"""What the fields are."""


def arms(library: Library) -> list[str]:
    """Returns the names of the arms a library keeps."""
    return sorted(path.parent.name for path in (library.path / FOLDER).glob(f"[!.]*/{CARD}"))


def is_earlier(library: Library, name: str) -> bool:
    """Returns whether an earlier version of yosegi has kept a router of this name, which may be any text."""
    return name in {path.parent.name for path in (library.path / ".routers").glob("*/router.json")}


def save_arm(library: Library, arm: Arm, *, overwrite: bool = False) -> None:
    """Writes an arm into the library of its experts.

    Raises:
        Invalid: the name cannot be one, or is taken and not to be overwritten; an expert has changed since it was loaded.
        UnknownName: an expert is not in the library.
    """
    folder = library.path / FOLDER / check_name(arm.name)
    if arm.name in library:
        raise Invalid(f"{library.path} has an expert called {arm.name!r}. Choose another name for the arm.")
    cards = {expert.name: library.card(expert.name) for expert in arm.experts}
    for expert in arm.experts:
        if (loaded := expert.card.get("sha256")) and loaded != cards[expert.name].get("sha256"):
            raise Invalid(f"Expert {expert.name!r} of {library.path} is not the one that {arm.name!r} was made with.")
    state = save({key: value.detach().cpu().contiguous() for key, value in arm.router_state.items()})
    first = next(iter(cards.values()), {})
    card = {
        "name": arm.name,
        "experts": [{"name": name, "sha256": card.get("sha256")} for name, card in cards.items()],
        **{key: getattr(arm, key) for key in SAVED},
        "base": library.base or first.get("base"),
        "base_hash": library.base_hash or first.get("base_hash"),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "yosegi_version": __version__,
        "sha256": hashlib.sha256(state).hexdigest(),
    }
    try:
        text = json.dumps(card, ensure_ascii=False, indent=1, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise Invalid(f"Arm {arm.name!r}: its arguments cannot be written as JSON ({error}).") from error
    with library.locked(fcntl.LOCK_EX):
        files.sweep(folder.parent)
        if os.path.lexists(folder) and not overwrite:
            raise Invalid(f"{library.path} has an arm called {arm.name!r}. Choose another name, or overwrite it.")
        with files.new_folder(folder) as new:
            (new / STATE).write_bytes(state)
            (new / CARD).write_text(text, encoding="utf-8")


def read_arm(library: Library, name: str) -> dict[str, Any]:
    """Returns arm.json; the state is not looked at.

    Raises:
        UnknownName: there is no arm of that name. Corrupt: its file is damaged.
        Invalid: it was written by a version that kept routers elsewhere.
    """
    if name not in (known := arms(library)):
        if is_earlier(library, name):
            old = library.path / ".routers" / name / "router.json"
            raise Invalid(
                f"{old.parent} was written by an earlier version. Train it again: yosegi train-router --library {library.path} "
                f"--arm {files.read_json(old).get('router', 'ROUTER')} --name {name}-router"
            )
        raise UnknownName.among("arm of this library", name, known)
    file = library.path / FOLDER / name / CARD
    card = files.read_json(file)
    check_fields(card, KINDS, str(file))
    if missing := [field for field in FIELDS if card.get(field) is None and (field not in NULL or field not in card)]:
        raise Corrupt(f"{file} does not say {', '.join(missing)}.")
    return card


def load_arm(library: Library, name: str) -> Arm:
    """Returns an arm with its experts, ready to be attached.

    Raises:
        UnknownName: there is no arm of that name. Corrupt: its files are damaged.
        Invalid: one of its experts is gone, or has changed.
    """
    card, folder = read_arm(library, name), library.path / FOLDER / name
    state = mapped(folder / STATE)
    if files.sha256(folder / STATE) != card["sha256"]:
        raise Corrupt(f"{folder / STATE} is not what was written. Make the arm again.")
    jointly = registry.find("routers", card["router"]).learns == "jointly"
    for expert in card["experts"]:
        if expert["name"] not in library:
            what = f"was made with expert {expert['name']!r}, which is not in {library.path} any more"
        elif library.card(expert["name"]).get("sha256") != expert["sha256"]:
            what = f"was made with another expert {expert['name']!r} than {library.path} has now"
        else:
            continue
        again = (
            "Train its bank again (yosegi train --build)."
            if jointly or "build" in card["training"]
            else "Search again (yosegi search --keep)."
            if card["merge"]
            else f"Train it again: yosegi train-router --arm {card['router']}"
        )
        raise Invalid(f"The arm {name!r} {what}. {again}")
    experts = library.load(expert["name"] for expert in card["experts"])
    if jointly:  # the rows of its table are its own tasks, which need not be those of its experts
        experts = [replace(expert, card={**expert.card, "task": list(card["tasks"])}) for expert in experts]
    fields: dict[str, Any] = {key: tuple(card[key]) if key in ("ablate", "tasks") else card[key] for key in SAVED}
    return Arm(name, experts, router_state=state, **fields)


def remove_arm(library: Library, name: str) -> None:
    """Deletes an arm; its experts stay.

    Raises:
        UnknownName: there is no arm of that name.
    """
    read_arm(library, name)
    with library.locked(fcntl.LOCK_EX):
        files.sweep(library.path / FOLDER)
        files.remove_folder(library.path / FOLDER / name)
