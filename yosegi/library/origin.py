"""Whether experts share an origin: only then do the entries of their factors mean the same.

M A and B M⁻¹ are the same delta as A and B, whatever M is. The factors of experts that began at the same initial A can be
compared and subtracted; of others only the deltas can.
"""

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace

from yosegi.core.expert import Expert, Factors
from yosegi.errors import Invalid, WrongBase


def check_origin(experts: Sequence[Expert], what: str, instead: str) -> None:
    """Refuses experts with different initial factors; warns where a card does not say which they were.

    Args:
        experts: experts of one base.
        what: what is done with their factors, as in "compared".
        instead: what to use for experts with different origins.

    Raises:
        Invalid: two cards have different initialisers, seeds or arguments of the initialiser.
    """
    known = {expert.name: origin for expert in experts if (origin := _origin(expert))}
    for name, origin in known.items():
        first = next(iter(known))
        if origin != known[first]:
            raise Invalid(
                f"Experts {first!r} and {name!r} began at different numbers ({known[first]}; {origin}), and factors "
                f"without a common origin cannot be {what}. Train them with one init and init_seed, or use {instead}."
            )
    if unknown := [expert.name for expert in experts if expert.name not in known]:
        warnings.warn(
            f"The card of expert {unknown[0]!r} ({len(unknown)} of {len(experts)}) does not say at which numbers it began. "
            f"Its factors can be {what} only if that was where the others began; if in doubt, use {instead}.",
            stacklevel=3,
        )


def moved(experts: Sequence[Expert], start: Expert) -> list[Expert]:
    """Returns the experts with A - A₀ in place of A: how far training moved their factors from where all of them began.

    After a short training A₀ is most of A, and the factors of any two experts look alike.

    Args:
        experts: they share an origin (`check_origin`).
        start: the factors at which they began; its B is zero.

    Raises:
        Invalid: an expert has other layers or ranks than the start, as one of rank 2R that took its start in has.
    """
    result = []
    for expert in experts:
        differ = expert.factors.keys() ^ start.factors.keys() or [
            layer for layer, f in expert.factors.items() if f.A_RI.shape != start.factors[layer].A_RI.shape
        ]
        if differ or any(bool(f.B_OR.any()) for f in start.factors.values()):
            raise Invalid(
                f"How far the factors of {expert.name!r} moved is not known: they do not begin at a random A with B = 0. "
                'Use space="delta".'
            )
        factors = {
            n: Factors(f.A_RI.float() - start.factors[n].A_RI, f.B_OR, f.scale) for n, f in expert.factors.items()
        }
        result.append(replace(expert, factors=factors))
    return result


def check_one_base(experts: Sequence[Expert]) -> None:
    """Refuses experts whose cards have different bases; a card without a base is accepted."""
    bases = {expert.card["base_hash"]: expert.name for expert in experts if expert.card.get("base_hash")}
    if len(bases) > 1:
        (one, first), (other, second) = list(bases.items())[:2]
        raise WrongBase(f"Experts {first!r} and {second!r} belong to different bases ({one[:12]} and {other[:12]}).")


def _origin(expert: Expert) -> str | None:
    """Returns the initialiser and its seed, such as "kaiming, seed 0"; None if the card has none."""
    init, seed, training = expert.card.get("init"), expert.card.get("init_seed"), expert.card.get("training")
    if init is None or seed is None:
        return None
    more = training.get("init_args") if isinstance(training, Mapping) else None
    return f"{init}, seed {seed}" + (f", {json.dumps(more, sort_keys=True)}" if more else "")
