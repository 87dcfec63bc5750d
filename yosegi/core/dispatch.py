"""Other ways to compute the same line, for when few of many experts are heard. The result is the same; the layer chooses.

The two GEMMs of the layer run over all E·R rows of A whatever w says. Under a router that keeps k of E experts most of that is
multiplied by zero.
    grouped    tokens go different ways: the pairs (token, expert) with w ≠ 0, sorted by expert, one grouped product each way
    gathered   whole sequences go one way each (fleets, requests): their expert's A and B, one batched product each way
Shapes: X tokens, P pairs, K runs of N tokens, E experts, R rank, I in, O out, H heads.
"""

import torch
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


def gathered(
    y_XO: Tensor, x_XI: Tensor, A_ERI: Tensor, B_EOR: Tensor, e_K: Tensor | None, w_KN: Tensor, scale_E: Tensor
) -> Tensor:
    """y + w s B A x, run by run with its own expert: run k of the tokens with expert e_K[k], or with expert k."""
    A_KRI, B_KRO, scale_K = (
        whole if e_K is None else whole.index_select(0, e_K) for whole in (A_ERI, B_EOR.mT, scale_E)
    )
    x_KNI, y_KNO = x_XI.view(len(A_KRI), -1, x_XI.shape[-1]), y_XO.view(len(A_KRI), -1, y_XO.shape[-1])
    h_KNR = (x_KNI @ A_KRI.mT) * (w_KN * scale_K[:, None])[..., None]
    return torch.baddbmm(y_KNO, h_KNR, B_KRO)
