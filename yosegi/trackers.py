"""Trackers: the rows of metrics.jsonl, sent on while a training or a search runs.

    with report_to(["tensorboard"]):
        yosegi.train(["skills/sort"])

Each run folder becomes a run of the tracker, and each number of a row a curve of its own, `EXPERT/loss`. metrics.jsonl is written
in any case; a tracker that fails is left out from there on, and the training goes on. Under `accelerate launch` each process
reports the experts that it trains.
"""

import importlib
import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from yosegi.errors import MissingExtra, UnknownName

INSTALL = {"tensorboard": "'yosegi-lora[track]'", "trackio": "trackio", "wandb": "wandb"}
"""What pip installs for each."""

Log = Callable[[Mapping[str, float], int], None]
_names: list[str] = []
_open: dict[tuple[Path, str], tuple[Log, Callable[[], None]]] = {}


@contextmanager
def report_to(names: str | Sequence[str]) -> Iterator[None]:
    """Sends on what is logged while the block lasts.

    Args:
        names: tensorboard (into RUN/tensorboard), trackio or wandb (project yosegi, logged in as those programs are); or none.

    Raises:
        UnknownName: there is no such tracker. MissingExtra: it is not installed.
    """
    names = [names] if isinstance(names, str) else names
    UnknownName.check("tracker", names, ["none", *INSTALL])
    chosen = [name for name in dict.fromkeys(names) if name != "none"]
    for name in chosen:
        if find_spec(name) is None:
            raise MissingExtra(f"--report-to {name} needs {name}, which is not installed: pip install {INSTALL[name]}")
    before = list(_names)
    _names[:] = chosen
    try:
        yield
    finally:
        _names[:] = before
        for _, close in [_open.pop(key) for key in list(_open) if key[1] not in before]:
            with suppress(Exception):
                close()


def send(folder: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Sends rows of a run folder's metrics.jsonl to the trackers in use."""
    if not _names:
        return
    for row in rows:
        who = [str(row[key]) for key in ("expert", "validation") if row.get(key)]
        values = {
            "/".join([*who, key]): float(value)
            for key, value in row.items()
            if key != "step" and isinstance(value, int | float) and not isinstance(value, bool)
        }
        for name in list(_names):
            try:
                if (folder, name) not in _open:
                    _open[folder, name] = _begin(name, folder)
                _open[folder, name][0](values, int(row.get("step") or 0))
            except Exception as error:  # of a program that is no part of the training
                _names.remove(name)
                words = " ".join(str(error).split())[:200]
                warnings.warn(f"{name} takes no more rows ({words}); metrics.jsonl has them all.", stacklevel=2)


def _begin(name: str, folder: Path) -> tuple[Log, Callable[[], None]]:
    """Returns the functions that log values at a step, and that end."""
    if name == "tensorboard":
        from torch.utils.tensorboard import SummaryWriter

        writer = SummaryWriter(str(folder / "tensorboard"))

        def write(values: Mapping[str, float], step: int) -> None:
            for key, value in values.items():
                writer.add_scalar(key, value, step)

        return write, writer.close
    tracker, config = importlib.import_module(name), folder / "config.json"
    known = json.loads(config.read_text(encoding="utf-8")) if config.is_file() else {}
    tracker.init(project="yosegi", name=folder.name, config=known)
    # Their own step only rises, and experts that are trained in groups begin again at 1: it is one more value.
    return lambda values, step: tracker.log({**values, "step": step}), tracker.finish
