"""Random: a random system for each example, which is the control for every vote.

LoRA-PAR, Huang et al. 2025, arXiv:2507.20999, reports GSM8K after SFT: 25.85 for a random split, 27.60 for a vote of five.

The examples are ordered by a hash of seed and text and cut into shares: the sizes are exact, and an example's system hardly
depends on the other examples. With the shares of a labelling it is a control of the same sizes.
"""

from collections.abc import Sequence
from hashlib import blake2b
from itertools import accumulate

from yosegi.errors import Invalid
from yosegi.tasks import Example
from yosegi.teachers import Question, Teacher, Vote


class Random(Teacher):
    """Args:
    seed: seed of the draw.
    shares: the share of each system, from the fastest to the slowest, in any unit; () is equal shares.
    """

    def __init__(self, seed: int = 0, shares: Sequence[float] = ()):
        super().__init__()
        self.seed, self.shares, self.name = seed, tuple(shares), f"random-{seed}"
        if self.shares and (min(self.shares) < 0 or not 0 < sum(self.shares) < float("inf")):
            raise Invalid(
                f"shares={','.join(map(str, self.shares))}: shares must not be negative, and their sum above 0."
            )

    def label(self, examples: Sequence[Example], question: Question) -> list[Vote]:
        """Returns random votes."""
        k = len(question.systems)
        shares = self.shares or (1.0,) * k
        if len(shares) != k:
            raise Invalid(f"{k} systems have {k} shares; {len(shares)} were given.")
        ends = [round(len(examples) * part / sum(shares)) for part in accumulate(shares)]
        votes = [Vote(None)] * len(examples)
        for place, i in enumerate(sorted(range(len(examples)), key=lambda i: (self._hash(examples[i]), i))):
            votes[i] = Vote(sum(place >= end for end in ends[:-1]), "random")
        self.note = "random: a control"
        return votes

    def about(self) -> dict[str, object]:
        """Returns the seed and the shares."""
        return {"name": self.name, "seed": self.seed, "shares": list(self.shares)}

    def _hash(self, example: Example) -> bytes:
        return blake2b(f"{self.seed}\0{example.id}\0{example.prompt}".encode(), digest_size=16).digest()
