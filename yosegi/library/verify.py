"""What is wrong with an expert on disk. Every file is read, so that one report lists all that is damaged."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from yosegi import files
from yosegi.errors import Invalid, NoData, shown
from yosegi.library.card import CARD, FIELDS, README, read_card
from yosegi.library.mapped import mapped
from yosegi.library.peft_files import CONFIG, FLOATS, WEIGHTS, config_of, factors_of, shortcomings


class Problem(NamedTuple):
    """One fault: the file, and what is wrong with it."""

    file: Path
    what: str

    def __str__(self) -> str:
        return f"{self.file}: {self.what}"


def problems(folder: Path) -> list[Problem]:
    """Returns everything wrong in one expert's folder: missing, truncated or changed files, tensors that do not fit, NaN."""
    parts = (CARD, CONFIG, WEIGHTS, README)
    faults = [Problem(folder / part, "is missing") for part in parts if not (folder / part).is_file()]

    def attempt(part: str, read: Callable[[], Any]) -> Any:
        """Returns what `read` returns; None if the file is missing or the reading fails, which becomes a fault."""
        path = folder / part
        try:
            return read() if path.is_file() else None
        except (Invalid, NoData, OSError, ValueError, RuntimeError) as error:
            faults.append(Problem(path, str(error).removeprefix(f"{path} ").removeprefix(f"{path}: ")))

    card = attempt(CARD, lambda: read_card(folder))
    config = attempt(CONFIG, lambda: config_of(folder))
    tensors = attempt(WEIGHTS, lambda: mapped(folder / WEIGHTS))
    if card is not None:
        faults += [Problem(folder / part, what) for part, what in _faults_of_card(folder, card)]
    for key, tensor in (tensors or {}).items():
        if tensor.dtype in FLOATS and not bool(tensor.isfinite().all()):
            faults.append(Problem(folder / WEIGHTS, f"{key} holds NaN or infinity"))
    if tensors is not None and config is not None:
        factors = attempt(WEIGHTS, lambda: factors_of(folder, config))
        faults += [Problem(folder / WEIGHTS, what) for what in (shortcomings(config, factors) if factors else ())]
    return faults


def _faults_of_card(folder: Path, card: Any) -> list[tuple[str, str]]:
    faults = []
    if missing := [field for field in FIELDS if field not in card]:
        faults.append((CARD, f"does not say {', '.join(missing)}"))
    if card.get("name") != folder.name:
        faults.append((CARD, f"says the name is {shown(card.get('name'))}, and the folder is {folder.name!r}"))
    sha256 = files.sha256(folder / WEIGHTS) if (folder / WEIGHTS).is_file() else None
    if sha256 and card.get("sha256") and sha256 != card["sha256"]:
        what = f"is not what was written: its sha256 is {sha256[:12]}…, the card says {str(card['sha256'])[:12]}…"
        faults.append((WEIGHTS, what))
    return faults
