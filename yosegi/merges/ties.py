"""TIES: keep the largest entries of each expert, elect a sign for each entry, average the experts that agree with it.

Yadav et al. 2023, "TIES-Merging: Resolving Interference When Merging Models", arXiv:2306.01708. As in the paper, an expert is
one vector: the trim is over all its layers at once, and over the deltas, not over A and B. A tied election goes to the sign
that wins most entries. Weights enter before the election, so that a negative weight votes against its expert; the default
weights of 1 are the paper's λ = 1, and weights of λ each are its λ. The result is dense and is cut to a rank; the card has
the error of the cut.
"""

from yosegi.merges._entries import Entries
from yosegi.merges._layers import each


class Ties(Entries):
    """Args:
    density: the share of each expert's entries that is kept.
    rank: the rank of the result; by default that of the widest expert; "full" for no cut.
    """

    def __init__(self, density: float = 0.2, rank: int | str | None = None):
        super().__init__(density=density, elect=True, rank=rank)


weights = each
