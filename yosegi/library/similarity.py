"""How similar experts are: the cosines of all pairs, without building a delta or the matrix of all parameters.

    delta      <ΔW_i, ΔW_j>  =  s_i s_j tr((B_i A_i)ᵀ B_j A_j)  =  s_i s_j Σ_rk (A_i A_jᵀ)_rk (B_iᵀ B_j)_rk
    factors    all A and B of an expert as one vector θ

Delta: each layer is two Gram matrices of stacked factors, (E R)² (I + O) multiplications, where the deltas would need E² I O
and the memory for E I O numbers. Factors is the space of model-based clustering, Ostapenko et al. 2024, "Towards Modular LLMs
by Building and Reusing a Library of LoRAs", arXiv:2405.11157. It sees how a delta happens to be written (M A and B M⁻¹ are the
same delta), so it is meaningful only among experts that share an origin. The authors set the smallest entries of each θ to
zero, stack them as X [E, P], keep C components of its SVD, X ≈ U S Vᵀ, and compare the rows of U S. U and S also come from the
Gram matrix X Xᵀ = U S² Uᵀ, which is only [E, E] and a sum over layers.

Shapes: E experts, R rank, I in, O out, P parameters of an expert, X of one layer, C components.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import hardshrink, pad

from yosegi.core.expert import Expert, Factors
from yosegi.errors import Invalid, UnknownName

SPACES = ("delta", "factors")
BLOCK = 2**25
"""The most entries of a Gram matrix in memory: a large library is processed in blocks of experts."""
NOTHING = 1e-5
"""If the components keep less than this share of an expert's norm, it is rounding: fp32 sums of P products."""


def similarity(
    experts: Sequence[Expert], space: str = "delta", sparsity: float = 0.0, components: int | None = None
) -> Tensor:
    """Returns the cosines [E, E] in fp64; 0 for an expert that is zero, or of which the components keep nothing.

    Args:
        experts: at least one. In a layer that an expert lacks, its delta is zero.
        space: "delta", or "factors", which needs the same layers and shapes.
        sparsity: the share of each expert's entries that are set to zero, the smallest (factors).
        components: components of the truncated SVD (factors); None, or as many as experts, truncates nothing.
    """
    UnknownName.check("space for similarity", [space], SPACES)
    if not experts:
        raise Invalid("There are no experts to compare.")
    gram_EE = _gram_of_deltas(experts) if space == "delta" else _gram_of_factors(experts, sparsity)
    norm_E = gram_EE.diagonal().clamp(min=0).sqrt()
    if components is not None and components < len(experts):
        value_E, vector_EE = torch.linalg.eigh(gram_EE)  # ascending
        part_EC = vector_EE[:, -components:] * value_E[-components:].clamp(min=0).sqrt()
        gram_EE, whole_E = part_EC @ part_EC.mT, norm_E
        norm_E = gram_EE.diagonal().sqrt()
        norm_E = torch.where(norm_E > NOTHING * whole_E, norm_E, torch.inf)
    norm_E = torch.where(norm_E > 0, norm_E, torch.inf)
    cosine_EE = gram_EE / (norm_E[:, None] * norm_E)
    return ((cosine_EE + cosine_EE.mT) / 2).clamp(-1, 1)


def _gram_of_deltas(experts: Sequence[Expert]) -> Tensor:
    gram_EE = torch.zeros(len(experts), len(experts), dtype=torch.float64)
    for layer in dict.fromkeys(layer for expert in experts for layer in expert.factors):
        present = torch.tensor([e for e, expert in enumerate(experts) if layer in expert.factors])
        factors = [expert.factors[layer] for expert in experts if layer in expert.factors]
        if len(shapes := sorted({f.shape for f in factors})) > 1:
            sizes = " and ".join(f"{O} x {I}" for O, I in shapes)
            raise Invalid(f"Layer {layer}: the experts belong to different models; it is {sizes}.")
        gram_EE[present[:, None], present] += _gram(factors)
    return gram_EE


def _gram(factors: Sequence[Factors]) -> Tensor:
    """Returns the inner products of one layer's deltas."""
    E, R = len(factors), max(f.rank for f in factors)
    dtype = torch.float64 if any(f.A_RI.dtype == torch.float64 for f in factors) else torch.float32
    A_ERI = torch.stack([pad(f.A_RI.to(dtype), (0, 0, 0, R - f.rank)) for f in factors])
    B_ERO = torch.stack([pad(f.B_OR.mT.to(dtype) * f.scale, (0, 0, 0, R - f.rank)) for f in factors])
    A_XI, B_XO, rows = A_ERI.flatten(0, 1), B_ERO.flatten(0, 1), []
    size = max(1, BLOCK // (R * len(A_XI)))
    for A_FRI, B_FRO in zip(A_ERI.split(size), B_ERO.split(size), strict=True):
        both_XX = (A_FRI.flatten(0, 1) @ A_XI.mT) * (B_FRO.flatten(0, 1) @ B_XO.mT)
        rows.append(both_XX.view(len(A_FRI), R, E, R).sum((1, 3), dtype=torch.float64))
    return torch.cat(rows)


def _gram_of_factors(experts: Sequence[Expert], sparsity: float) -> Tensor:
    """One pass for each expert's quantile and one for the layers: one expert or one layer of all is in memory."""
    first = experts[0]
    for other in experts[1:]:
        if alone := sorted(first.factors.keys() ^ other.factors.keys()):
            raise Invalid(
                f"Only one of the experts {first.name!r} and {other.name!r} has layer {alone[0]}, so their factors "
                f'cannot be compared. Use space="delta".'
            )
        for layer, f in first.factors.items():
            one, two = ((g.rank, *g.shape) for g in (f, other.factors[layer]))
            if one != two:
                raise Invalid(
                    f"Layer {layer}: (rank, outputs, inputs) are {one} in expert {first.name!r} and {two} in "
                    f'{other.name!r}, so their factors cannot be compared. Use space="delta".'
                )
    shrink_E = [_quantile(expert, sparsity) if sparsity else 0.0 for expert in experts]
    gram_EE = torch.zeros(len(experts), len(experts), dtype=torch.float64)
    for layer in first.factors:
        rows = (hardshrink(_flat(e.factors[layer]), limit) for e, limit in zip(experts, shrink_E, strict=True))
        flat_EX = torch.stack(list(rows))
        gram_EE += flat_EX @ flat_EX.mT
    return gram_EE


def _flat(f: Factors) -> Tensor:
    """Returns A and B of one layer as one vector."""
    dtype = torch.float64 if f.A_RI.dtype == torch.float64 else torch.float32
    return torch.cat([f.A_RI.detach().flatten(), f.B_OR.detach().flatten()]).to("cpu", dtype)


def _quantile(expert: Expert, sparsity: float) -> float:
    """Returns the |θ| up to which an expert's parameters are set to zero."""
    size_P = torch.cat([_flat(f) for f in expert.factors.values()]).abs_().numpy()
    place = int(sparsity * (len(size_P) - 1))
    return float(np.partition(size_P, place)[place])
