"""DARE, then TIES without its trim: entries are dropped at random, the rest rescaled, and those that agree in sign averaged.

Yu et al. 2024, arXiv:2311.03099, with the election of Yadav et al. 2023, arXiv:2306.01708. The default weights are 1 each.
Which entries are dropped depends on (seed, layer, expert) alone. The result is dense and is cut to a rank; the card has the
error of the cut.
"""

from yosegi.merges._entries import Entries
from yosegi.merges._layers import each


class DareTies(Entries):
    """Args:
    drop: the probability that an entry is dropped.
    seed: seed of the dropped entries.
    rank: the rank of the result; by default that of the widest expert; "full" for no cut.
    """

    def __init__(self, drop: float = 0.5, seed: int = 0, rank: int | str | None = None):
        super().__init__(drop=drop, elect=True, seed=seed, rank=rank)


weights = each
