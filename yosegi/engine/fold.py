"""Fold: a routing that is the same for every input becomes one ordinary expert, layer by layer and exactly.

    Σ_e w_e s_e B_e A_e  =  [w_1 s_1 B_1 … w_E s_E B_E] [A_1; …; A_E]        rank Σ r, or less with its error said

Shapes: E experts, R rank, I in, O out.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from yosegi import registry
from yosegi.core.bank import Bank
from yosegi.core.context import Context
from yosegi.core.expert import Expert, Factors
from yosegi.core.router import Router
from yosegi.errors import Invalid


def fold(
    experts: Sequence[Expert], weights: Mapping[str, Sequence[float]], name: str, rank: int | None = None
) -> Expert:
    """One expert that says what these say together.

    Args:
        experts: of one base; ranks and layers may differ.
        weights: layer -> how much each is heard there. A layer that is not named is left out.
        name: of the result.
        rank: of the result, by the best cut of each layer (Eckart and Young 1936); by default nothing is cut.

    Raises:
        Invalid: a layer has more or fewer weights than there are experts.
    """
    cut = registry.find("merges", "svd")
    factors: dict[str, Factors] = {}
    lost = total = 0.0
    for layer, w_E in weights.items():
        if len(w_E) != len(experts):
            raise Invalid(f"{len(experts)} experts need {len(experts)} weights in layer {layer}, not {len(w_E)}.")
        here = [(e.factors[layer], float(w)) for e, w in zip(experts, w_E, strict=True) if layer in e.factors]
        if not here:
            continue
        A_XI = torch.cat([f.A_RI.float() for f, _ in here])
        B_OX = torch.cat([w * f.scale * f.B_OR.float() for f, w in here], 1)
        if rank is None or rank >= len(A_XI):
            factors[layer] = Factors(A_XI, B_OX)
            continue
        narrow = cut(A_XI[None], B_OX[None], torch.ones(1), rank=rank)
        factors[layer] = Factors(narrow.A_RI.contiguous(), narrow.B_OR.contiguous())
        lost, total = lost + narrow.lost, total + narrow.total
    if not factors:
        raise Invalid("These weights name no layer of these experts.")
    first = experts[0].card
    card = {
        "base": first.get("base"),
        "base_hash": first.get("base_hash"),
        "task_type": first.get("task_type"),
        "task": sorted({task for expert in experts for task in expert.tasks}),
        "parents": [expert.name for expert in experts],
        "recipe": {"fold": {layer: [round(float(w), 6) for w in w_E] for layer, w_E in weights.items()}, "rank": rank},
        "relative_error": (lost / total) ** 0.5 if total else 0.0,
    }
    return Expert(name, factors, card)


@torch.no_grad()
def static_weights(
    experts: Sequence[Expert], router: Router, learnt: Mapping[str, Tensor] | None = None
) -> dict[str, list[float]]:
    """Layer -> how much each expert is heard there, under a router that says the same for every input.

    Args:
        experts: whom it learnt beside, in that order.
        router: static, uniform, or another of the kind.
        learnt: what it learnt (`Banks.router_state`).

    Raises:
        Invalid: what it says depends on the input, or what was learnt does not fit.
    """
    found: dict[str, list[float]] = {}
    for layer in dict.fromkeys(layer for expert in experts for layer in expert.factors):
        factors = [expert.factors.get(layer) for expert in experts]
        O, I = next((len(f.B_OR), f.A_RI.shape[1]) for f in factors if f)
        bank = Bank([e.name for e in experts], [e.tasks for e in experts], factors, (O, I))
        router.bind(bank)
        if router.needs or router(torch.randn(2, 3, I), Context()).shape[:-1].numel() != 1:
            raise Invalid(f"The router {type(router).__name__.lower()} looks at its input: it cannot be folded.")
        router.load_layer(layer, learnt or {})
        found[layer] = router(torch.randn(2, 3, I), Context()).flatten().tolist()
    return found
