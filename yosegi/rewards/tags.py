"""Tags: a quarter for each of the four tags that occurs exactly once, minus a little for each character after the last."""

from yosegi.tasks import Example, Score

TAGS = ("<reasoning>", "</reasoning>", "<answer>", "</answer>")
PENALTY = 0.002
"""For each character after the last tag."""


def tags(example: Example, text: str, score: Score) -> float:
    """Returns a number from 0 to 1."""
    present = sum(text.count(tag) == 1 for tag in TAGS) / len(TAGS)
    trailing = len(text.rpartition(TAGS[-1])[2].strip()) if TAGS[-1] in text else 0
    return max(0.0, present - PENALTY * trailing)
