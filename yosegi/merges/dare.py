"""DARE: drop most entries of each delta at random, rescale the rest, and take the weighted sum.

Yu et al. 2024, "Language Models are Super Mario: Absorbing Abilities from Homologous Models as a Free Lunch",
arXiv:2311.03099. Averaged over seeds it is the weighted sum. Which entries are dropped depends on (seed, layer, expert)
alone. The paper drops up to 0.9 of a fully fine-tuned delta. The result is dense; cutting it to a rank also removes much of
the noise of dropping, so that it is often nearer to the weighted sum than to its own dense result: the card has both errors.
"""

from yosegi.merges._entries import Entries


class Dare(Entries):
    """Args:
    drop: the probability that an entry is dropped.
    seed: seed of the dropped entries.
    rank: the rank of the result; by default that of the widest expert; "full" for no cut.
    """

    def __init__(self, drop: float = 0.5, seed: int = 0, rank: int | str | None = None):
        super().__init__(drop=drop, seed=seed, rank=rank)
