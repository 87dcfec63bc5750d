"""Three ways to compute the same line. The result is the same; the layer takes the cheapest.

    dense      all experts are computed: two GEMMs over all E·R rows of A and B, whatever w is (core/layer.py)
    grouped    tokens have different experts: of A and B only the rows that are active for a token, grouped by token
    gathered   each sequence has one expert (fleets, requests): the A and B of these, in two batched products
Shapes: X tokens, P pairs of a token and an active expert, K runs of X/K tokens, E experts, R rank, I in, O out, H heads.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

READ, PICKED, BATCHED, COPIED = 12, 6, 1.5, 18
SCAN, GROUP, GATHER = 160, 5e6, 2e6
"""Costs in multiply-adds of a large GEMM (benchmarks/bench_routed.py measures them): of reading all of A and B, in tokens; of a
multiply-add with rows picked one by one, and with a matrix for each run; of a weight that is copied for its run; of reading one
entry of w; and of starting the grouped and the gathered way, beyond that of two GEMMs."""


def cheapest(x_I: Tensor, w_HE: Tensor, shape: Sequence[int], run_K: Tensor | None) -> str:
    """Returns the name of the cheapest way for B of this shape: gathered needs runs of one expert, grouped a CPU kernel."""
    (E, O, R), I = shape, x_I.shape[-1]
    X, weights = x_I.numel() // I, R * (I + O)
    if run_K is not None and torch.is_grad_enabled():
        return "gathered"  # in dense GEMMs 0 · inf would let an expert that diverges reach all others
    way, least = "dense", (X + READ) * E * weights
    if run_K is not None and (gather := GATHER + (BATCHED * X + COPIED * len(run_K)) * weights) < least:
        way, least = "gathered", gather
    begin, each = GROUP + SCAN * X * E, PICKED * X * weights
    # Where gradients are wanted, an expert of weight 0 needs one too. On a GPU the grouped way has not been measured.
    if begin + each >= least or torch.is_grad_enabled() or x_I.device.type != "cpu":
        return way  # and the active experts are not even counted
    each *= E * int(w_HE.count_nonzero()) / max(w_HE.numel(), 1)
    return "grouped" if begin + each < least else way


def grouped(y_O: Tensor, x_I: Tensor, A_ERI: Tensor, B_EOR: Tensor, w_HE: Tensor) -> Tensor:
    """Returns y + Σ_e w_e B_e A_e x over the active pairs; w includes the scales.

    The way up is a weighted bag of rows of B for each token. The way down is the gradient of a bag of rows of A by its weights:
    the token's product with each of them. Torch has that kernel for backward passes only, hence the underscore.
    """
    E, R, I = A_ERI.shape
    x_XI, w_XE = x_I.reshape(-1, I), w_HE.expand(*x_I.shape[:-1], 1, E).reshape(-1, E)
    x_P, e_P = w_XE.nonzero(as_tuple=True)
    row_PR, start_X = e_P[:, None] * R + torch.arange(R), torch.searchsorted(x_P, torch.arange(len(x_XI))) * R
    down = torch.ops.aten._embedding_bag_per_sample_weights_backward
    z = down(x_XI, A_ERI.flatten(0, 1), row_PR.flatten(), start_X, x_P.repeat_interleave(R), 0)
    h_PR = z.view_as(row_PR) * w_XE[x_P, e_P, None]
    up = B_EOR.mT.flatten(0, 1)
    y_XO = embedding_bag(row_PR.flatten(), up, start_X, mode="sum", per_sample_weights=h_PR.flatten())
    return y_O + y_XO.view_as(y_O).to(y_O.dtype)  # autocast does not cover bags


def gathered(
    y_O: Tensor, x_I: Tensor, A_ERI: Tensor, B_EOR: Tensor, w_HE: Tensor, run_K: Tensor, every: bool = False
) -> Tensor:
    """Returns y + w B A x, with one expert for each run of sequences; `every`: run k has expert k. w as in `grouped`."""
    K, e_K = len(run_K), run_K.clamp(min=0)  # -1 is the base alone: there every w is zero
    A_KRI, B_KRO = (whole if every else whole.index_select(0, e_K) for whole in (A_ERI, B_EOR.mT))
    w_BT = w_HE.sum((-2, -1)).expand(x_I.shape[:-1])  # all but one are zero
    x_KNI, y_KNO = x_I.reshape(K, -1, x_I.shape[-1]), y_O.reshape(K, -1, y_O.shape[-1])
    h_KNR = (x_KNI @ A_KRI.mT) * w_BT.reshape(K, -1, 1)
    return torch.baddbmm(y_KNO, h_KNR, B_KRO).view_as(y_O)
