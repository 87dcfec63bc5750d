"""Do experts share an origin? Only then do the entries of their factors mean the same, one by one.

M A and B M⁻¹ are the same delta as A and B, whatever M: factors say how a delta happens to be written. Experts that began at
the same initial A were written alike from the start, so their factors can be compared and subtracted; others' deltas can.
"""

import json
import warnings
from collections.abc import Mapping, Sequence

from yosegi.core.expert import Expert
from yosegi.errors import Invalid, WrongBase


def check_origin(experts: Sequence[Expert], what: str, instead: str) -> None:
    """Refuse experts that began at different numbers; warn where a card does not say at which.

    Args:
        experts: of one base.
        what: is to be done with their factors, as in "compared".
        instead: the way out.

    Raises:
        Invalid: two cards say different initialisers, seeds or arguments of the initialiser.
    """
    known = {expert.name: origin for expert in experts if (origin := _origin(expert))}
    for name, origin in known.items():
        first = next(iter(known))
        if origin != known[first]:
            raise Invalid(
                f"Experts {first!r} and {name!r} began at different numbers ({known[first]}; {origin}), and factors "
                f"without a common origin cannot be {what}. Train them with one init and init_seed, or use {instead}."
            )
    if silent := [expert.name for expert in experts if expert.name not in known]:
        warnings.warn(
            f"The card of expert {silent[0]!r} ({len(silent)} of {len(experts)}) does not say at which numbers it began. "
            f"Its factors can be {what} only if that was where the others began; if in doubt, use {instead}.",
            stacklevel=3,
        )


def check_one_base(experts: Sequence[Expert]) -> None:
    """Refuse experts whose cards name different bases; one that names none is given the benefit of the doubt."""
    beside = {expert.card["base_hash"]: expert.name for expert in experts if expert.card.get("base_hash")}
    if len(beside) > 1:
        (one, first), (other, second) = list(beside.items())[:2]
        raise WrongBase(f"Experts {first!r} and {second!r} stand beside different bases ({one[:12]} and {other[:12]}).")


def _origin(expert: Expert) -> str | None:
    """kaiming, seed 0"""
    init, seed, training = expert.card.get("init"), expert.card.get("init_seed"), expert.card.get("training")
    if init is None or seed is None:
        return None
    more = training.get("init_args") if isinstance(training, Mapping) else None
    return f"{init}, seed {seed}" + (f", {json.dumps(more, sort_keys=True)}" if more else "")
