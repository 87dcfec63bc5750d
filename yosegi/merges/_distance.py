"""The distance of two low-rank deltas in the Frobenius norm, without building either.

    ‖B A‖² = Σ (A Aᵀ) ∘ (Bᵀ B)

Gram matrices are cheap, but rounding hides a small difference of large deltas: there, thin QRs in fp64.
Shapes: I in, O out, R, X and Y inner widths.
"""

import torch
from torch import Tensor

GRAM = 2**22
"""The most entries of a Gram matrix in memory: with many experts the whole would be larger than the delta."""
ROUNDING = 1e-2
"""A result below this share of the summed magnitudes is not trusted in fp32 (rounding is about 1e-7 of them)."""


def norm(A_RI: Tensor, B_OR: Tensor) -> float:
    """Returns ‖B A‖ in fp64: only the triangles of two thin QRs are multiplied."""
    a_KR = torch.linalg.qr(A_RI.double().mT, mode="r").R
    b_KR = torch.linalg.qr(B_OR.double(), mode="r").R
    return float(torch.linalg.matrix_norm(b_KR @ a_KR.mT))


CANCELLED = 1e-10
"""A sum whose square is below this share of the summed magnitudes is rounding: its parts cancel."""


def magnitude(A_XI: Tensor, B_OX: Tensor) -> tuple[float, float]:
    """Returns ‖B A‖², and the sum of the magnitudes it is made of: far less of the one than of the other is cancelled parts."""
    total, most = _inner(A_XI, B_OX, A_XI, B_OX)
    return (norm(A_XI, B_OX) ** 2 if total <= ROUNDING * most else total), most


def apart(A_RI: Tensor, B_OR: Tensor, A_XI: Tensor, B_OX: Tensor) -> tuple[float, float, float]:
    """Returns ‖B_R A_R - B_X A_X‖², and both of `magnitude` of B_X A_X."""
    first, size = _inner(A_RI, B_OR, A_RI, B_OR)
    cross, more = _inner(A_RI, B_OR, A_XI, B_OX)
    total, most = _inner(A_XI, B_OX, A_XI, B_OX)
    lost = first - 2 * cross + total
    if lost <= ROUNDING * (size + 2 * more + most):
        lost = norm(torch.cat([A_RI, A_XI]), torch.cat([B_OR, -B_OX], 1)) ** 2
    if total <= ROUNDING * most:
        total = norm(A_XI, B_OX) ** 2
    return lost, total, most


def _inner(A_XI: Tensor, B_OX: Tensor, A_YI: Tensor, B_OY: Tensor) -> tuple[float, float]:
    """Returns <B_X A_X, B_Y A_Y> and the sum of the magnitudes that it adds up, in blocks of rows of the Gram matrices."""
    inner, size, rows = 0.0, 0.0, max(1, GRAM // len(A_YI))
    for A_NI, B_ON in zip(A_XI.split(rows), B_OX.split(rows, dim=1), strict=True):
        gram_NY = (A_NI @ A_YI.mT) * (B_ON.mT @ B_OY)
        inner, size = inner + float(gram_NY.sum(dtype=torch.float64)), size + float(gram_NY.abs().sum())
    return inner, size
