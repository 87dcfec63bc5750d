"""The similarities of model-based clustering, without the matrix of all parameters.

The authors stack the sparsified parameters θ as X [T, P], keep C components of its SVD, X ≈ U S Vᵀ, and compare the rows of U S.
U and S also come from the Gram matrix X Xᵀ = U S² Uᵀ, which is only [T, T] and a sum over layers: one pass for each expert's
quantile and one for the layers, with one expert or one layer of all in memory. Shapes: T experts, P parameters of one, X of one
layer, C components.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import hardshrink

from yosegi.core.expert import Expert, Factors
from yosegi.errors import Invalid

NOTHING = 1e-5
"""If the components keep less than this share of an expert's norm, it is rounding: fp32 sums of P products."""


def cosines(experts: Sequence[Expert], sparsity: float, components: int) -> Tensor:
    """Returns the cosines [T, T] in fp64; 0 for an expert of which the components keep nothing."""
    _check_shapes(experts)
    shrink_T = [_quantile(expert, sparsity) for expert in experts]
    gram_TT = torch.zeros(len(experts), len(experts), dtype=torch.float64)
    for layer in experts[0].factors:
        rows = (hardshrink(_flat(e.factors[layer]), t) for e, t in zip(experts, shrink_T, strict=True))
        flat_TX = torch.stack(list(rows))
        gram_TT += flat_TX @ flat_TX.mT
    norm_T = gram_TT.diagonal().clamp(min=0).sqrt()
    if components < len(experts):
        value_T, vector_TT = torch.linalg.eigh(gram_TT)  # ascending
        part_TC = vector_TT[:, -components:] * value_T[-components:].clamp(min=0).sqrt()
        gram_TT, whole_T = part_TC @ part_TC.mT, norm_T
        norm_T = gram_TT.diagonal().sqrt()
        norm_T = torch.where(norm_T > NOTHING * whole_T, norm_T, torch.inf)
    norm_T = torch.where(norm_T > 0, norm_T, torch.inf)
    return (gram_TT / (norm_T[:, None] * norm_T)).clamp(-1, 1)


def _flat(f: Factors) -> Tensor:
    """Returns A and B of one layer as one vector."""
    wide = torch.float64 if f.A_RI.dtype == torch.float64 else torch.float32
    return torch.cat([f.A_RI.detach().flatten(), f.B_OR.detach().flatten()]).to("cpu", wide)


def _quantile(expert: Expert, sparsity: float) -> float:
    """Returns the |θ| up to which an expert's parameters are set to zero."""
    if not sparsity:
        return 0.0
    size_P = torch.cat([_flat(f) for f in expert.factors.values()]).abs_().numpy()
    place = int(sparsity * (len(size_P) - 1))
    return float(np.partition(size_P, place)[place])


def _check_shapes(experts: Sequence[Expert]) -> None:
    """Refuses experts whose vectors belong to different spaces."""
    first = experts[0]
    for other in experts[1:]:
        if alone := sorted(first.factors.keys() ^ other.factors.keys()):
            raise Invalid(
                f"Only one of the experts {first.name!r} and {other.name!r} has layer {alone[0]}, so their factors "
                f'cannot be compared. Use space="delta".'
            )
        for layer, f in first.factors.items():
            one, two = ((g.rank, len(g.B_OR), g.A_RI.shape[1]) for g in (f, other.factors[layer]))
            if one != two:
                raise Invalid(
                    f"Layer {layer}: (rank, outputs, inputs) are {one} in expert {first.name!r} and {two} in "
                    f'{other.name!r}, so their factors cannot be compared. Use space="delta".'
                )
