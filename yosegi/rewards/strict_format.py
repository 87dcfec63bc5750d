"""Strict format: the reasoning and then the answer, each tag on its own line, and nothing else."""

import re

from yosegi.tasks import Example, Score

FORMAT = re.compile(r"<reasoning>\n.*?\n</reasoning>\n<answer>\n.*?\n</answer>\n?", re.DOTALL)


def strict_format(example: Example, text: str, score: Score) -> float:
    """Returns 1 if the whole text has the format."""
    return float(FORMAT.fullmatch(text) is not None)
