"""Core Space: express the experts in the bases that their A and their B span together, and merge the small matrices there.

    [B_1 | … | B_E] = U S Xᵀ,   [A_1; …; A_E] = Y T Vᵀ,   M_e = Uᵀ B_e A_e V,   ΔW = U merge(M_1, …, M_E) Vᵀ

Panariello et al. 2025, "Accurate and efficient low-rank model merging in Core Space", arXiv:2509.17786. M_e has at most E R rows
and columns, whatever the width of the model, and nothing of an expert is lost. A plain sum is the same in any coordinates;
trimming, dropping and electing are not. The default weights are 1 each.
"""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from yosegi.merges._cut import NOTHING, Cut, cut_factors, width
from yosegi.merges._entries import By
from yosegi.merges._layers import Layer, Layers, each


class CoreSpace(By):
    """Args:
    by: ties, dare, dare_ties or task_arithmetic.
    density: the share of each expert's coordinates that ties keeps (1).
    drop: the probability that dare and dare_ties drop a coordinate (0.8).
    seed: seed of the dropped coordinates.
    rank: the rank of the result; by default that of the widest expert; "full" for no cut.
    """

    def look(self, layers: Layers) -> None:
        """Reads all layers in their core spaces, for a trim has one threshold for all layers of an expert."""
        super().look(_Cores(layers))  # type: ignore[arg-type]

    def __call__(self, layer: Layer) -> Cut:
        """Returns the result for one layer at its rank."""
        small, U_OK, V_KI = core(layer)
        M_KK = small.A_ERI.new_empty(U_OK.shape[1], len(V_KI))
        for rows, sums in self._sums(small):
            M_KK[rows] = self._combined(*sums)
        if self.rank == "full":
            return Cut(M_KK @ V_KI, U_OK, 0.0, 0.0)
        return cut_factors(M_KK @ V_KI, U_OK, width(self.rank, layer.A_ERI.shape[1], len(V_KI)))


class _Cores:
    """The layers in their core spaces, as often as they are iterated."""

    def __init__(self, layers: Layers):
        self.layers, self.experts = layers, layers.experts

    def __iter__(self) -> Iterator[Layer]:
        return (core(layer)[0] for layer in self.layers)


def core(layer: Layer) -> tuple[Layer, Tensor, Tensor]:
    """Returns a layer whose deltas are M_e [K, K'], and the bases U [O, K] and V [K', I]."""
    A_XI, B_OX = layer.A_ERI.double().flatten(0, 1), layer.B_EOR.double().movedim(0, 1).flatten(1)
    U_OK, V_KI = _basis(B_OX), _basis(A_XI.mT).mT
    small = replace(
        layer, A_ERI=(layer.A_ERI.double() @ V_KI.mT).float(), B_EOR=(U_OK.mT @ layer.B_EOR.double()).float()
    )
    return small, U_OK.float(), V_KI.float()


def _basis(X_NX: Tensor) -> Tensor:
    """Returns the left singular vectors of what is not rounding; one column of zeros for a matrix of zeros."""
    U_NK, S_K, _ = torch.linalg.svd(X_NX, full_matrices=False)
    return U_NK[:, : max(1, int((NOTHING * S_K[0] < S_K).sum()))]


weights = each
