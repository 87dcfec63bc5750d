"""How alike experts are: the cosine between all pairs, without building a delta.

    <ΔW_i, ΔW_j>  =  s_i s_j tr((B_i A_i)ᵀ B_j A_j)  =  s_i s_j Σ_rk (A_i A_jᵀ)_rk (B_iᵀ B_j)_rk

Each layer is two Gram matrices of stacked factors: (E R)² (I + O) multiplications, where the deltas would need E² I O
of them and E I O memory. Model-based clustering groups experts by it: Ostapenko et al. 2024, "Towards Modular LLMs by
Building and Reusing a Library of LoRAs", arXiv:2405.11157. They compare the factors themselves; that sees how a delta
happens to be written (M A and B M⁻¹ are the same delta), so it is meaningful among experts that share an origin.
Shapes: E experts, R rank, I in, O out.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from yosegi.core.expert import Expert, Factors
from yosegi.errors import Invalid, UnknownName

BLOCK = 2**25
"""Numbers of a Gram matrix that are held at once: a wide library is worked through in blocks of experts."""


def similarity(experts: Sequence[Expert], space: str = "delta") -> Tensor:
    """The cosines [E, E] in fp64. An expert that is still zero is like nothing, itself included: 0.

    Args:
        experts: at least one. In a layer that it does not have, an expert's delta is zero.
        space: "delta", or "factors" for the A and B themselves; these need the same layers and shapes.
    """
    grams = {"delta": _delta_gram, "factors": _factors_gram}
    if space not in grams:
        raise UnknownName.among("space for similarity", space, grams)
    if not experts:
        raise Invalid("There are no experts to compare.")
    gram_EE = torch.zeros(len(experts), len(experts), dtype=torch.float64)
    for layer in dict.fromkeys(layer for expert in experts for layer in expert.factors):
        gram_EE += _per_layer(experts, layer, grams[space])
    norm_E = gram_EE.diagonal().clamp(min=0).sqrt()
    cosine_EE = gram_EE / (norm_E[:, None] * norm_E).clamp(min=torch.finfo(torch.float64).tiny)
    return ((cosine_EE + cosine_EE.mT) / 2).clamp(-1, 1)


def _per_layer(experts: Sequence[Expert], layer: str, gram: Callable[..., Tensor]) -> Tensor:
    """One layer's inner products [E, E]; an error in it is told with its name."""
    try:
        return gram([expert.factors.get(layer) for expert in experts])
    except Invalid as error:
        raise Invalid(f"Layer {layer}: {error}") from None


def _delta_gram(factors: Sequence[Factors | None]) -> Tensor:
    here = [e for e, f in enumerate(factors) if f is not None]
    there = [f for f in factors if f is not None]
    shapes = sorted({(f.B_OR.shape[0], f.A_RI.shape[1]) for f in there})
    if len(shapes) > 1:
        raise Invalid(
            f"the experts stand beside different models; it is {' and '.join(f'{O} x {I}' for O, I in shapes)}."
        )
    R = max(f.rank for f in there)
    dtype = torch.float64 if any(f.A_RI.dtype == torch.float64 for f in there) else torch.float32
    A_ERI = torch.stack([pad(f.A_RI.to(dtype), (0, 0, 0, R - f.rank)) for f in there])
    B_ERO = torch.stack([pad(f.B_OR.mT.to(dtype) * f.scale, (0, 0, 0, R - f.rank)) for f in there])
    A_XI, B_XO = A_ERI.flatten(0, 1), B_ERO.flatten(0, 1)
    few = max(1, BLOCK // (R * len(A_XI)))
    rows = []
    for A_FRI, B_FRO in zip(A_ERI.split(few), B_ERO.split(few), strict=True):
        both_XX = (A_FRI.flatten(0, 1) @ A_XI.mT) * (B_FRO.flatten(0, 1) @ B_XO.mT)
        rows.append(both_XX.view(len(A_FRI), R, len(there), R).sum((1, 3), dtype=torch.float64))
    gram_EE = torch.zeros(len(factors), len(factors), dtype=torch.float64)
    gram_EE[torch.tensor(here)[:, None], torch.tensor(here)] = torch.cat(rows)
    return gram_EE


def _factors_gram(factors: Sequence[Factors | None]) -> Tensor:
    if any(f is None for f in factors):
        raise Invalid("only some of the experts have it, so their factors are no vectors of one space; compare deltas.")
    there = [f for f in factors if f is not None]
    shapes = sorted({(f.rank, f.B_OR.shape[0], f.A_RI.shape[1]) for f in there})
    if len(shapes) > 1:
        raise Invalid(f"(rank, outputs, inputs) differ, {shapes}, so the factors cannot be compared; compare deltas.")
    flat_EX = torch.stack([torch.cat([f.A_RI.flatten(), f.B_OR.flatten()]).double() for f in there])
    return flat_EX @ flat_EX.mT
