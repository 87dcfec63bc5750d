"""What is wrong with an expert on disk. Every file is looked at, so that one report names all that is damaged."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from yosegi import files
from yosegi.errors import Invalid, NoData
from yosegi.library.card import CARD, FIELDS, README
from yosegi.library.mapped import mapped
from yosegi.library.peft_files import CONFIG, WEIGHTS, config_of, factors_of


class Problem(NamedTuple):
    """One thing that is wrong: the file, and what about it."""

    file: Path
    what: str

    def __str__(self) -> str:
        return f"{self.file}: {self.what}"


def problems(folder: Path) -> list[Problem]:
    """Everything wrong with one expert's folder: missing, truncated or changed files, tensors that do not fit, NaN."""
    found = [
        Problem(folder / part, "is missing")
        for part in (CARD, CONFIG, WEIGHTS, README)
        if not (folder / part).is_file()
    ]

    def attempt(part: str, read: Callable[[], Any]) -> Any:
        """What `read` returns; None if it fails, and then the report says why."""
        try:
            return read() if (folder / part).is_file() else None
        except (Invalid, NoData, OSError) as error:
            found.append(
                Problem(folder / part, str(error).removeprefix(f"{folder / part} ").removeprefix(f"{folder / part}: "))
            )

    card = attempt(CARD, lambda: files.read_json(folder / CARD))
    config = attempt(CONFIG, lambda: config_of(folder))
    tensors = attempt(WEIGHTS, lambda: mapped(folder / WEIGHTS))

    if card is not None:
        found += _card_problems(folder, card)
    if tensors is None:
        return found
    for key, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            found.append(Problem(folder / WEIGHTS, f"{key} holds NaN or infinity"))
    if config is not None:
        attempt(WEIGHTS, lambda: factors_of(folder, config))
    return found


def _card_problems(folder: Path, card: Any) -> list[Problem]:
    if not isinstance(card, dict):
        return [Problem(folder / CARD, "is not a JSON object")]
    found = []
    if missing := [field for field in FIELDS if field not in card]:
        found.append(Problem(folder / CARD, f"does not say {', '.join(missing)}"))
    if card.get("name") != folder.name:
        found.append(
            Problem(folder / CARD, f"says the name is {card.get('name')!r}, and the folder is {folder.name!r}")
        )
    if (folder / WEIGHTS).is_file() and card.get("sha256"):
        with (folder / WEIGHTS).open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        if sha256 != card["sha256"]:
            what = f"is not what was written: its sha256 is {sha256[:12]}…, the card says {str(card['sha256'])[:12]}…"
            found.append(Problem(folder / WEIGHTS, what))
    return found
