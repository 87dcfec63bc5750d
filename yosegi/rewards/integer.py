"""Integer: the answer is a whole number, right or wrong. It teaches the form of an answer first."""

import re

from yosegi.tasks import Example, Score


def integer(example: Example, text: str, score: Score) -> float:
    """Returns 1 if the text between the answer tags, or else the answer that the task read, is digits with at most a sign."""
    tagged = re.findall(r"<answer>\s*(.*?)\s*</answer>", text, re.DOTALL)
    answer = tagged[-1] if tagged else score.answer or ""
    return float(re.fullmatch(r"[-+]?\d+", answer.strip()) is not None)
