"""The tags, however they are set."""

from tests.conftest import each
from yosegi.rewards.soft_format import soft_format
from yosegi.tasks import Example, Score

Q = Example("1", "q", "42", ("42",))
GOOD = "<reasoning>\n6*7=42\n</reasoning>\n<answer>\n42\n</answer>\n"


@each("text, want", [
    (GOOD, 1), (GOOD.replace("\n", ""), 1), (GOOD + "and more", 1), ("well " + GOOD, 0), ("<answer>42</answer>", 0), ("", 0),
])  # fmt: skip
def test_what_counts(text, want):
    assert soft_format(Q, text, Score(0.0)) == want
