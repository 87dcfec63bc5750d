"""Projections of a gradient: which of its directions are kept, how they are found, and how much of it they hold.

    R = Lᵀ G        rows are kept            W += L R
    R = G Q         columns are kept         W += R Qᵀ
    R = Lᵀ G Q      both                     W += L R Qᵀ

L and Q have orthonormal columns. "svd" takes the leading singular vectors. "subspace" turns the directions it had towards them,
by steps of orthogonal iteration (Golub and Van Loan 2013, "Matrix Computations", 8.2.4; from nothing: Halko et al. 2011,
arXiv:0909.4061): two thin products and a thin QR each. A direction has no sign of its own: it gets that of the one before it,
so that moments which stay as they are do not suddenly point backwards.

Shapes: M x N of the gradient, R rank, K the smaller of M and N; any leading axes are a stack of matrices.
"""

from typing import NamedTuple

import torch
from torch import Tensor

KINDS = ("std", "reverse_std", "left", "right", "full")
REFRESHES = ("svd", "subspace")
COLD = 2
"""More steps of iteration where there is nothing to begin with."""


class Projection(NamedTuple):
    """What is kept of a gradient; None for the side that is kept whole."""

    left_MR: Tensor | None
    right_NR: Tensor | None

    def project(self, G_MN: Tensor) -> Tensor:
        """Returns R, the gradient in the kept directions."""
        low = G_MN if self.left_MR is None else self.left_MR.mT @ G_MN
        return low if self.right_NR is None else low @ self.right_NR

    def lift(self, low: Tensor) -> Tensor:
        """Returns R back in the gradient's shape [M, N]."""
        wide = low if self.left_MR is None else self.left_MR @ low
        return wide if self.right_NR is None else wide @ self.right_NR.mT

    def add(self, W_MN: Tensor, low: Tensor, keep: float, scale: float) -> None:
        """Computes W = keep W + scale lift(R), in place and in one pass over W."""
        if self.left_MR is None:
            a, b = low, self.right_NR.mT  # type: ignore[union-attr]
        else:
            a, b = self.left_MR, low if self.right_NR is None else low @ self.right_NR.mT
        add = W_MN.addmm_ if W_MN.ndim == 2 else W_MN.baddbmm_
        add(a, b, beta=keep, alpha=scale)

    def turned(self, before: "Projection", moment: Tensor, squares: bool = False) -> Tensor:
        """Returns a moment of the directions before, seen from these; of squares the expected ones of independent directions."""
        for new, old, is_left in ((self.left_MR, before.left_MR, True), (self.right_NR, before.right_NR, False)):
            if new is not None and old is not None:
                C_RR = (new.mT @ old).square() if squares else new.mT @ old
                moment = C_RR @ moment if is_left else moment @ C_RR.mT
        return moment


def sides(kind: str, M: int, N: int) -> tuple[bool, bool]:
    """Returns (are rows reduced, are columns reduced). std reduces the smaller side, whose state takes the least memory."""
    if kind in ("left", "right", "full"):
        return kind != "right", kind != "left"
    rows = (M < N) == (kind == "std")
    return rows, not rows


@torch.no_grad()
def find(
    G_MN: Tensor,
    rank: int,
    kind: str = "std",
    refresh: str = "svd",
    steps: int = 1,
    before: Projection | None = None,
    align: bool = True,
) -> Projection:
    """Returns the directions of one gradient, in its dtype; computed in fp32.

    Args:
        G_MN: the gradient, or a stack of them.
        rank: how many; no more than the smaller side has.
        kind: one of KINDS.
        refresh: one of REFRESHES.
        steps: of iteration, for subspace.
        before: where subspace begins; without it, at random directions that depend on the shape alone.
        align: give each direction the sign that it had before.
    """
    G = G_MN.float()
    M, N = G.shape[-2:]
    rank, (rows, columns) = min(rank, M, N), sides(kind, M, N)
    if refresh == "svd":
        left_MR, right_NR = _leading(G, rank)
    else:
        left_MR = _iterate(G, rank, steps, before and before.left_MR) if rows else None
        right_NR = _iterate(G.mT, rank, steps, before and before.right_NR) if columns else None

    def kept(side: Tensor | None, wanted: bool, last: Tensor | None) -> Tensor | None:
        if not wanted or side is None:
            return None
        if last is not None and align:
            side = side * _signs((side * last).sum(-2, keepdim=True))
        return side.to(G_MN.dtype).contiguous()

    last = before or Projection(None, None)
    return Projection(kept(left_MR, rows, last.left_MR), kept(right_NR, columns, last.right_NR))


def energy(low: Tensor, G_MN: Tensor) -> float:
    """Returns the share of ‖G‖² that a projected gradient holds; 1 of a gradient that is zero."""
    whole = float(G_MN.float().square().sum())
    return float(low.float().square().sum()) / whole if whole else 1.0


def best_energy(G_MN: Tensor, rank: int) -> float:
    """Returns the most that a projection of this rank could hold: of the squared singular values, the largest."""
    G = G_MN.double()
    wide = G if G.shape[-2] <= G.shape[-1] else G.mT
    values_K = torch.linalg.eigvalsh(wide @ wide.mT).clamp(min=0)
    whole = float(values_K.sum())
    return float(values_K[..., -rank:].sum()) / whole if whole else 1.0


def _leading(G: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Returns the leading left and right singular vectors. A tall matrix takes LAPACK half the time of a wide one."""
    wide = G.shape[-2] < G.shape[-1]
    U, _, V = torch.linalg.svd(G.mT.contiguous() if wide else G, full_matrices=False)
    a, b = U[..., :rank], V[..., :rank, :].mT
    return (b, a) if wide else (a, b)


def _iterate(G: Tensor, rank: int, steps: int, start_MR: Tensor | None) -> Tensor:
    """Returns orthonormal columns [M, R], turned towards the leading left singular vectors."""
    if start_MR is not None:
        Q_MR = start_MR.float()
    else:
        generator = torch.Generator().manual_seed(
            0
        )  # all processes of one training begin alike, and so does a resumed one
        some_NR = torch.randn(G.shape[-1], rank, generator=generator).to(G.device)
        Q_MR, steps = torch.linalg.qr(G @ some_NR).Q, steps + COLD
    for _ in range(steps):
        Q_MR = torch.linalg.qr(G @ (G.mT @ Q_MR)).Q
    return Q_MR


def _signs(x: Tensor) -> Tensor:
    """Returns -1 or 1, never 0."""
    return torch.where(x < 0, -1.0, 1.0)
