"""Fold: an arm that is the same for every input becomes one ordinary expert, layer by layer.

    Σ_e w_e s_e B_e A_e  =  [w_1 s_1 B_1 … w_E s_E B_E] [A_1; …; A_E]        rank Σ r, or less with its error on the card

Merges, fixed weights and static routers (CAT) can be folded; a router that looks at its input cannot.
Shapes: I in, O out, E experts.
"""

from dataclasses import replace
from typing import Any

import torch

from yosegi import registry
from yosegi.core.bank import Bank
from yosegi.core.context import Context
from yosegi.core.expert import Expert
from yosegi.engine.arm import Arm
from yosegi.errors import Invalid
from yosegi.merges import merge


def fold(arm: Arm, name: str, rank: int | None = None) -> Expert:
    """Returns the one expert that an arm amounts to.

    Args:
        arm: a merge, experts with fixed weights, or a router whose weights are the same for every input.
        name: of the expert.
        rank: of the expert, by the best cut of each layer (Eckart and Young 1936); by default as it comes.

    Raises:
        Invalid: the arm has no experts, or what it does depends on the input.
    """
    if not arm.experts:
        raise Invalid(f"{arm.name} has no experts: there is no delta to make an expert of.")
    cut: dict[str, Any] = {} if rank is None else {"rank": rank}
    if arm.merge:
        expert = merge(arm.experts, arm.merge, name=name, **{**arm.merge_args, **cut})
    else:
        if arm.mix != "outputs" and arm.routed:
            raise Invalid(f"{arm.name} mixes {arm.mix}, which is no sum of its experts: it cannot be folded.")
        weights = static_weights(arm) if arm.weights is None or arm.ablate else arm.weights
        expert = merge(arm.experts, "svd" if cut else "cat", weights, name, **cut)
    if not arm.training:
        return expert
    training = {**expert.card["training"], "arm": {"name": arm.name, **arm.training}}
    return replace(expert, card={**expert.card, "training": training})


@torch.no_grad()
def static_weights(arm: Arm) -> dict[str, list[float]]:
    """Returns, by layer, the weight of each expert under a router that weights them the same for every input.

    Raises:
        Invalid: the weights depend on the input, or the state does not fit the router.
    """
    router = registry.find("routers", arm.router)(**arm.router_args)
    found: dict[str, list[float]] = {}
    for layer in dict.fromkeys(layer for expert in arm.experts for layer in expert.factors):
        factors = [expert.factors.get(layer) for expert in arm.experts]
        O, I = next((len(f.B_OR), f.A_RI.shape[1]) for f in factors if f)
        router.bind(Bank([e.name for e in arm.experts], [e.tasks for e in arm.experts], factors, (O, I)))
        if router.needs or router(torch.randn(2, 3, I), Context()).shape[:-1].numel() != 1:
            raise Invalid(f"The router {arm.router} looks at its input: it cannot be folded.")
        parts = {key: key.rpartition("|") for key in arm.router_state}
        state = {name: arm.router_state[key] for key, (where, _, name) in parts.items() if where in (layer, "")}
        try:
            router.load_state_dict(state)
        except RuntimeError as error:
            raise Invalid(f"What was learnt does not fit the router of layer {layer}: {error}") from None
        weights_E = router(torch.randn(2, 3, I), Context()).flatten().tolist()
        found[layer] = [0.0 if e.name in arm.ablate else w for e, w in zip(arm.experts, weights_E, strict=True)]
    return found
