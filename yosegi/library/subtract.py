"""GenKnowSub: take what is general out of an expert, so that only what is special to its task is left.

    delta      ΔW_t - ΔW_g  =  [s_t B_t, -s_g B_g] [A_t; A_g]        exact, of rank R_t + R_g
    factors    A = A_t - A_g,  B = B_t - B_g                          of the same rank, and another delta altogether

Bagherifard et al. 2025, "GenKnowSub: Improving Modularity and Reusability of LLMs through General Knowledge Subtraction",
arXiv:2505.10939 (ACL 2025, short). Their code, and PEFT's, subtract the factors; several general experts are averaged first.
"""

from collections.abc import Sequence

from yosegi.core.expert import Expert, Factors
from yosegi.errors import Invalid, UnknownName, WrongBase
from yosegi.library.origin import check_one_base, check_origin
from yosegi.library.store import Library

COPIED = ("base", "base_hash", "task", "task_type", "data_hash")
"""Fields of the card that the result has too; what was measured, or is written anew, is left out."""


def subtract(expert: Expert, general: Expert, mode: str = "delta", name: str | None = None) -> Expert:
    """Returns the expert without the general one.

    Args:
        expert: the expert of a task.
        general: an expert of the same base, trained on general text.
        mode: "delta", or "factors" as the authors' code does it; that needs equal layers, ranks, scales and origins.
        name: the result's name; by default the expert's.
    """
    UnknownName.check("mode of subtract", [mode], ("delta", "factors"))
    check_one_base([expert, general])
    for layer in expert.factors.keys() & general.factors.keys():
        (O, I), other = expert.factors[layer].shape, general.factors[layer].shape
        if other != (O, I):
            raise WrongBase(
                f"Experts {expert.name!r} and {general.name!r} belong to different bases: layer {layer} is {O} x {I} "
                f"and {other[0]} x {other[1]}."
            )
    factors = dict(expert.factors)
    if mode == "factors":
        _check_factors(expert, general)
        for layer, g in general.factors.items():
            t = factors[layer]
            factors[layer] = Factors(t.A_RI - g.A_RI, t.B_OR - g.B_OR, t.scale)
    else:  # in a layer that only one of them has, the other's delta is zero
        for layer, g in general.factors.items():
            factors[layer] = factors[layer].minus(g) if layer in factors else g._replace(B_OR=-g.B_OR)
    card = {key: expert.card[key] for key in COPIED if expert.card.get(key)}
    card |= {"parents": [expert.name, general.name], "training": {"subtract": general.name, "mode": mode}}
    return Expert(name or expert.name, factors, card)


def subtract_all(
    library: Library,
    general: str,
    names: Sequence[str] | None = None,
    to: Library | None = None,
    *,
    mode: str = "delta",
    suffix: str | None = None,
    overwrite: bool = False,
) -> list[Expert]:
    """Takes a general expert out of others, puts the results into a library, and returns them.

    Args:
        library: the experts.
        general: the name of the general one.
        names: the others; by default all originals.
        to: the library for the results; by default the same.
        mode: see `subtract`.
        suffix: follows each name; by default -minus-GENERAL, or nothing with `to`.
        overwrite: replace experts of the same names.
    """
    target = library if to is None else to  # one without experts would be false
    ending = f"-minus-{general}" if suffix is None and to is None else suffix or ""
    removed = library[general]
    experts = library.load(names or [name for name in library.originals() if name != general])
    if not experts:
        raise Invalid(f"{library.path} has no expert to take {general!r} out of.")
    results = [subtract(expert, removed, mode, expert.name + ending) for expert in experts]
    if not overwrite and (taken := [result.name for result in results if result.name in target]):
        raise Invalid(f"{target.path} has an expert called {taken[0]!r}. Give another --name-suffix, or --overwrite.")
    for result in results:  # all were made, and all have a place, before the first is written
        target.add(result, overwrite=overwrite)
    return results


def _check_factors(expert: Expert, general: Expert) -> None:
    """Refuses experts whose factors cannot be subtracted entry by entry."""
    pair = f"experts {expert.name!r} and {general.name!r}"
    if alone := sorted(expert.factors.keys() ^ general.factors.keys()):
        raise Invalid(f"Only one of the {pair} has layer {alone[0]}: factors need both. Use mode='delta'.")
    for layer, t in expert.factors.items():
        g = general.factors[layer]
        if (t.rank, t.scale) != (g.rank, g.scale):
            raise Invalid(
                f"Layer {layer}: the {pair} have ranks {t.rank} and {g.rank}, scales {t.scale:g} and {g.scale:g}; "
                f"factors can only be subtracted where these are equal. Use mode='delta'."
            )
    check_origin([expert, general], "subtracted", "mode='delta'")
