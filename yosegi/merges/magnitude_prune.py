"""Magnitude pruning: keep the largest entries of each expert and take the weighted sum.

The trim of Yadav et al. 2023 (TIES, arXiv:2306.01708) without the election: one threshold over all layers of an expert. The
result is dense and is cut to a rank; the card has the error of the cut and the distance from the sum of the whole deltas.
"""

from yosegi.merges._entries import Entries


class MagnitudePrune(Entries):
    """Args:
    density: the share of each expert's entries that is kept.
    rank: the rank of the result; by default that of the widest expert; "full" for no cut.
    """

    def __init__(self, density: float = 0.2, rank: int | str | None = None):
        super().__init__(density=density, rank=rank)
