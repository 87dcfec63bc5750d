"""Two ways to blend the experts of a bank. Both act in rank space, where everything is small.

    outputs   Σ_e w_e B_e A_e x               blend the outputs of the experts   (CAT, LoRAMoE)
    factors   (Σ_e w_e B_e) (Σ_e w_e A_e) x   blend the experts themselves       (Poly, MHR)

They differ in the cross terms B_i A_j, and each paper means one of them. `outputs` depends only on the deltas. `factors` also
depends on how each delta was factored, so use it only among experts that share an origin.
Shapes: H heads (1 unless MHR), E experts, R rank; "..." is any leading axes.
"""

from collections.abc import Callable

from torch import Tensor

from yosegi.errors import UnknownName

Mix = Callable[[Tensor, Tensor], Tensor]  # (z [..., H, E, R], w [..., H, E]) -> h [..., H, E, R]


def outputs(z_HER: Tensor, w_HE: Tensor) -> Tensor:
    """Each expert reads x on its own, and its output is multiplied by its weight."""
    return w_HE[..., None] * (z_HER.sum(-3, keepdim=True) if z_HER.shape[-3] > 1 else z_HER)


def factors(z_HER: Tensor, w_HE: Tensor) -> Tensor:
    """One averaged expert reads x; equal to merging A and B first, but never builds them."""
    return w_HE[..., None] * (w_HE[..., None] * z_HER).sum((-3, -2), keepdim=True)


MIXES: dict[str, Mix] = {"outputs": outputs, "factors": factors}


def named(name: str) -> Mix:
    """Returns a mix by its name."""
    UnknownName.check("mix", [name], MIXES)
    return MIXES[name]
