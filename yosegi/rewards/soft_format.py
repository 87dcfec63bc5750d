"""Soft format: the reasoning and then the answer in their tags, with any layout."""

import re

from yosegi.tasks import Example, Score

FORMAT = re.compile(r"\s*<reasoning>.*?</reasoning>\s*<answer>.*?</answer>", re.DOTALL)


def soft_format(example: Example, text: str, score: Score) -> float:
    """Returns 1 if the text begins with the format."""
    return float(FORMAT.match(text) is not None)
