"""What `yosegi train --build loramoe` does, and how its options are written."""

from typing import Any

from yosegi.commands._options import first_process
from yosegi.errors import Invalid, UnknownName


def read_shares(text: str | None) -> dict[str, float] | None:
    """easy=1,hard=2"""
    if text is None:
        return None
    found: dict[str, float] = {}
    for part in text.split(","):
        name, equals, number = part.rpartition("=")
        try:
            found[name.strip()] = float(number)
        except ValueError:
            equals = ""
        if not equals or not name.strip():
            raise Invalid(f"--shares {text!r}: {part!r} is not NAME=NUMBER.")
    return found


def read_curriculum(text: str | None) -> list[str] | None:
    """easy,hard"""
    if text is None:
        return None
    return [part.strip() for part in text.split(",") if part.strip()]


def read_types(data: dict[str, Any], rules: list[str], names: dict[str, str], settings: Any) -> Any:
    """The examples that will be read, each with its type (partitions/by_type.py)."""
    from yosegi.partitions.by_type import by_type

    data = {task: examples[: settings.limit] for task, examples in data.items()}
    found = by_type(data, rules=rules) if rules else by_type(data, {task: names[task] for task in data})
    for name in [*(settings.shares or {}), *settings.curriculum]:
        if name not in {*found.groups, *data}:
            raise UnknownName.among("type or task", name, [*found.groups, *data])
    return found


def train_loramoe(
    beside: Any,
    shelf: Any,
    data: dict[str, Any],
    types: Any,
    where: Any,
    settings: Any,
    experts: int,
    name: str,
    overwrite: bool,
    fresh: bool,
) -> list[str]:
    """The bank and its router into the library; the types of all examples into the run."""
    from yosegi.engine.kept import save_arm
    from yosegi.partitions.by_type import typed
    from yosegi.training.loramoe import keep_types, loramoe

    keep_types(where.path / f"{name}.types.json", types)
    settings = settings.model_copy(update={"limit": None})  # which has been taken from each task
    made = loramoe(beside, typed(types, data), where, settings, experts=experts, name=name, resume=not fresh)
    if first_process():
        for expert in made.experts:
            shelf.add(expert, overwrite=True)  # of these names is only what a killed call of this bank has left
        save_arm(shelf, made, overwrite=overwrite)
    return [expert.name for expert in made.experts]
