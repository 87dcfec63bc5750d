"""Length: the number of characters of a page. The simplest filter, and the control for the others.

Gopher's rules, Rae et al. 2021, "Scaling Language Models: Methods, Analysis & Insights from Training Gopher", arXiv:2112.11446,
drop web pages of fewer than 50 or more than 100,000 words. Here characters are counted, without blanks: Japanese has no spaces
between words.
"""

from collections.abc import Sequence

from yosegi.scores import Score, Values


class Length(Score):
    """The number of characters that are not blank."""

    name = "length"

    def of(self, texts: Sequence[str]) -> Values:
        """Returns the number of characters that are not blank."""
        return [float(sum(map(len, text.split()))) for text in texts]
