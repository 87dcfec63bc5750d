"""What a group of parameters has to be before anything moves, for optimizers that tell matrices from the rest by `rank`."""

from collections.abc import Mapping, Sequence
from typing import Any

from yosegi.errors import Invalid, UnknownName


def check(
    group: Mapping[str, Any], what: str, counts: Sequence[str] = (), choices: Mapping[str, Sequence[str]] | None = None
) -> None:
    """Refuses a group that cannot be trained.

    Args:
        group: one of `param_groups`; with `rank` None its parameters are trained whole and may have any shape.
        what: what happens to its matrices, for the error: "projected".
        counts: keys that are whole numbers of at least 1.
        choices: keys that are one of several words.
    """
    for name in ("lr", "weight_decay", "scale"):
        if not isinstance(group.get(name, 0), int | float):
            raise Invalid(f"{name}={group[name]!r} is not a number.")
    if not (group["lr"] >= 0 and group["weight_decay"] >= 0):
        raise Invalid(f"lr={group['lr']} and weight_decay={group['weight_decay']}: neither can be negative.")
    if group["rank"] is None:
        return
    for name in counts:
        if not isinstance(group[name], int) or group[name] < 1:
            raise Invalid(f"{name}={group[name]!r} has to be a whole number of at least 1.")
    for name, known in (choices or {}).items():
        UnknownName.check(name, [group[name]], known)
    for weight in group["params"]:
        if weight.ndim not in (2, 3) or not weight.numel():
            raise Invalid(
                f"A parameter of shape {tuple(weight.shape)} is no matrix and cannot be {what}: "
                "put it into a group with rank None, which is trained whole."
            )
