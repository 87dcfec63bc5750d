"""GenKnowSub: take what is general out of an expert, so that what is left speaks of its task alone.

    delta      ΔW_t - ΔW_g  =  [s_t B_t, -s_g B_g] [A_t; A_g]        exact, of rank R_t + R_g
    factors    A = A_t - A_g,  B = B_t - B_g                          of the same rank, and another delta altogether

Bagherifard et al. 2025, "GenKnowSub: Improving Modularity and Reusability of LLMs through General Knowledge Subtraction",
arXiv:2505.10939 (ACL 2025, short). Their code, and PEFT's, subtract the factors; several general experts are averaged first.
"""

from collections.abc import Callable

import torch

from yosegi.core.expert import Expert, Factors
from yosegi.errors import Invalid, UnknownName, WrongBase
from yosegi.library.origin import check_one_base, check_origin


def subtract(expert: Expert, general: Expert, mode: str = "delta", name: str | None = None) -> Expert:
    """The expert without what the general one says.

    Args:
        expert: of a task.
        general: trained on general text, beside the same base.
        mode: "delta", or "factors" as the authors' code does it; that needs equal layers, ranks, scales and origins.
        name: of the result; by default the expert's.
    """
    modes: dict[str, Callable[[Expert, Expert], dict[str, Factors]]] = {"delta": _deltas, "factors": _factors}
    if mode not in modes:
        raise UnknownName.among("mode of subtract", mode, modes)
    check_one_base([expert, general])
    for layer in expert.factors.keys() & general.factors.keys():
        here, there = (_shape(e.factors[layer]) for e in (expert, general))
        if here != there:
            raise WrongBase(
                f"Experts {expert.name!r} and {general.name!r} stand beside different bases: layer {layer} is "
                f"{here[0]} x {here[1]} and {there[0]} x {there[1]}."
            )
    kept = ("base", "base_hash", "task", "task_type", "data_hash")  # what is measured or written anew is not
    card = {key: expert.card[key] for key in kept if expert.card.get(key)}
    card |= {"parents": [expert.name, general.name], "training": {"subtract": general.name, "mode": mode}}
    return Expert(name or expert.name, modes[mode](expert, general), card)


def _deltas(expert: Expert, general: Expert) -> dict[str, Factors]:
    """In a layer that only one has, the other's delta is zero."""
    factors = dict(expert.factors)
    for layer, g in general.factors.items():
        if (t := expert.factors.get(layer)) is None:
            factors[layer] = g._replace(B_OR=-g.B_OR)
        elif t.scale == g.scale:  # nothing is multiplied, so nothing is rounded
            factors[layer] = Factors(torch.cat([t.A_RI, g.A_RI]), torch.cat([t.B_OR, -g.B_OR], 1), t.scale)
        else:
            B_OR = torch.cat([t.scale * t.B_OR.float(), -g.scale * g.B_OR.float()], 1)
            factors[layer] = Factors(torch.cat([t.A_RI.float(), g.A_RI.float()]), B_OR)
    return factors


def _factors(expert: Expert, general: Expert) -> dict[str, Factors]:
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
    theirs = general.factors
    return {
        layer: Factors(t.A_RI - theirs[layer].A_RI, t.B_OR - theirs[layer].B_OR, t.scale)
        for layer, t in expert.factors.items()
    }


def _shape(f: Factors) -> tuple[int, int]:
    return len(f.B_OR), f.A_RI.shape[1]
