"""Length: how many characters a page has. The plainest filter of all, and the control for the others.

Gopher's rules, Rae et al. 2021, "Scaling Language Models: Methods, Analysis & Insights from Training Gopher",
arXiv:2112.11446, drop web pages of fewer than 50 or more than 100,000 words. Characters are counted here, without the blanks
between them: Japanese has no words that could be counted at sight.
"""

from collections.abc import Sequence

from yosegi.scores import Score, Values


class Length(Score):
    """No arguments."""

    name = "length"

    def of(self, texts: Sequence[str]) -> Values:
        """The characters that are not blank."""
        return [float(sum(map(len, text.split()))) for text in texts]
