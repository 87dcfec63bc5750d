"""Three ways to compute the same line. The result is the same; the layer takes the cheapest.

    dense      everybody is computed: two GEMMs over all E·R rows of A and B, whatever w says (core/layer.py)
    grouped    tokens go different ways: of A and B only the rows that are active for a token, grouped by token
    gathered   whole sequences go one way each (fleets, requests): their expert's A and B, one batched product each way
Shapes: X tokens, P pairs of a token and an active expert, K runs of X/K tokens, E experts, R rank, I in, O out, H heads.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

READ, PICKED, BATCHED, COPIED = 12, 6, 1.5, 18
SCAN, GROUP, GATHER = 160, 5e6, 2e6
"""What things cost, counted in multiply-adds of a large GEMM (benchmarks/bench_routed.py measures it). To read all of A and B is
worth so many tokens. A multiply-add costs so much with rows picked one by one, and so much with a matrix for each run; a weight
so much if it is copied for its run. To look at one entry of w; and to begin, beyond what it takes to begin two GEMMs."""


def cheapest(x_I: Tensor, w_HE: Tensor, shape: Sequence[int], run_K: Tensor | None) -> str:
    """A way by its name, for B of that shape: gathered only where the batch is runs of one expert, grouped where torch can."""
    (E, O, R), I = shape, x_I.shape[-1]
    X, weights = x_I.numel() // I, R * (I + O)
    if run_K is not None and torch.is_grad_enabled():
        return "gathered"  # in dense GEMMs 0 · inf would let an expert that diverges reach all others
    way, least = "dense", (X + READ) * E * weights
    if run_K is not None and (gather := GATHER + (BATCHED * X + COPIED * len(run_K)) * weights) < least:
        way, least = "gathered", gather
    begin, each = GROUP + SCAN * X * E, PICKED * X * weights
    if begin + each >= least or not can_pick(x_I):
        return way  # and the active experts are not even counted
    each *= E * int(w_HE.count_nonzero()) / max(w_HE.numel(), 1)
    return "grouped" if begin + each < least else way


def can_pick(x_I: Tensor) -> bool:
    """Not where gradients are wanted: a silent expert's w has one too. On a GPU nobody has measured what it costs."""
    return not torch.is_grad_enabled() and x_I.device.type == "cpu"


def grouped(y_O: Tensor, x_I: Tensor, A_ERI: Tensor, B_EOR: Tensor, w_HE: Tensor) -> Tensor:
    """y + Σ_e w_e B_e A_e x over the active pairs; w with the scales in it.

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
    return y_O + y_XO.view_as(y_O).to(y_O.dtype)  # autocast knows nothing of bags


def gathered(
    y_O: Tensor, x_I: Tensor, A_ERI: Tensor, B_EOR: Tensor, w_HE: Tensor, run_K: Tensor, every: bool = False
) -> Tensor:
    """y + w B A x, run by run of sequences with the expert it asks for; `every`: run k asks for expert k. w as in `grouped`."""
    K, e_K = len(run_K), run_K.clamp(min=0)  # -1 asks for nobody: there every w is zero
    A_KRI, B_KRO = (whole if every else whole.index_select(0, e_K) for whole in (A_ERI, B_EOR.mT))
    w_BT = w_HE.sum((-2, -1)).expand(x_I.shape[:-1])  # all but one are zero
    x_KNI, y_KNO = x_I.reshape(K, -1, x_I.shape[-1]), y_O.reshape(K, -1, y_O.shape[-1])
    h_KNR = (x_KNI @ A_KRI.mT) * w_BT.reshape(K, -1, 1)
    return torch.baddbmm(y_KNO, h_KNR, B_KRO).view_as(y_O)
