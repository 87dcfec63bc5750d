"""Another way to compute the same line, for when few of many experts are heard: gather the pairs (token, expert) with w ≠ 0.

The two GEMMs of the layer run over all E·R rows of A whatever w says. Under a router that keeps k of E experts most of that is
multiplied by zero. Sorting the pairs by expert makes them one grouped matrix product each way. The layer chooses by `few`; the
result is the same. Shapes: X tokens, P pairs, E experts, R rank, I in, O out, H heads.
"""

from torch import Tensor, is_grad_enabled
from torch.nn.functional import grouped_mm

GATHER = 256
"""How many columns of A a pair has to spare before gathering it is worth its copies. Measured on two kinds of CPU."""


def few(x_I: Tensor, w_HE: Tensor, R: int, O: int) -> bool:
    """Whether so few experts are heard that gathering them is cheaper, and whether torch can.

    Not where gradients are wanted: a silent expert's w has one too. `grouped_mm` wants rows of whole 16 bytes, and no fp64.
    """
    if is_grad_enabled() or x_I.device.type != "cpu" or x_I.element_size() > 4 or w_HE.shape[-2] > 1:
        return False
    if w_HE.shape[-1] * R < GATHER or any(n * x_I.element_size() % 16 for n in (R, x_I.shape[-1], O)):
        return False
    heard, tokens = int(w_HE.count_nonzero()), w_HE[..., 0].numel()
    return GATHER * heard <= tokens * w_HE.shape[-1] * R


def grouped(y_XO: Tensor, x_XI: Tensor, A_ERI: Tensor, B_EOR: Tensor, w_XE: Tensor) -> Tensor:
    """y + Σ_e w_e B_e A_e x over the pairs that are heard; `w_XE` with the scales in it."""
    e_P, x_P = w_XE.mT.nonzero(as_tuple=True)  # sorted by expert
    ends_E = e_P.bincount(minlength=len(A_ERI)).cumsum(0).int()
    h_PR = grouped_mm(x_XI[x_P], A_ERI.mT, offs=ends_E) * w_XE[x_P, e_P, None]
    return y_XO.index_add(0, x_P, grouped_mm(h_PR, B_EOR.mT, offs=ends_E))
