"""SLERP, for two experts: interpolate along the great circle between the deltas instead of the straight line.

    (w_1 + w_2) (sin((1-t)θ) ΔW_1 + sin(tθ) ΔW_2) / sin θ,     t = w_2 / (w_1 + w_2),  cos θ = <ΔW_1, ΔW_2> / ‖ΔW_1‖ ‖ΔW_2‖

Shoemake 1985, "Animating rotation with quaternion curves", doi.org/10.1145/325334.325242. One angle per layer, as in
mergekit. Two deltas with the same or opposite directions are interpolated linearly. Exact, without building a delta; the
ranks add up.
"""

import torch
from torch import Tensor

from yosegi.errors import Invalid
from yosegi.merges._layers import weighted_sum

STRAIGHT = 0.9995
"""Beyond this cosine the interpolation is linear."""


def slerp(A_ERI: Tensor, B_EOR: Tensor, w_E: Tensor) -> tuple[Tensor, Tensor]:
    """Returns one wider expert for a layer of two experts. Where only one of them has the layer, the result is w ΔW."""
    if len(w_E) > 2:
        raise Invalid(f"slerp merges two experts, and {len(w_E)} were given: use svd or ties.")
    if (w_E < 0).any():
        raise Invalid("slerp interpolates between its two experts, so no weight can be negative: use svd or cat.")
    if len(w_E) == 2 and w_E.sum() > 0:
        A, B = A_ERI.double(), B_EOR.double()
        gram_EE = torch.einsum("ari,fsi,aor,fos->af", A, A, B, B)  # <ΔW_a, ΔW_f>
        norm_E = gram_EE.diagonal().clamp(min=0).sqrt()
        cosine = gram_EE[0, 1] / norm_E.prod().clamp(min=torch.finfo(torch.float64).tiny)
        if cosine.abs() < STRAIGHT and norm_E.all():
            angle, total = cosine.acos(), w_E.sum().double()
            share_E = w_E.double() / total
            w_E = (total * (share_E * angle).sin() / angle.sin()).to(w_E.dtype)
    return weighted_sum(A_ERI, B_EOR, w_E)
