"""Digits, with a sign at most."""

from tests.conftest import each
from yosegi.rewards.integer import integer
from yosegi.tasks import Example, Score

Q = Example("1", "q", "42", ("42",))
GOOD = "<reasoning>\n6*7=42\n</reasoning>\n<answer>\n42\n</answer>\n"


@each("text, answer, want", [
    (GOOD, None, 1), ("<answer> -7 </answer>", None, 1), ("<answer>3.0</answer>", "3", 0), ("<answer>1,000</answer>", None, 0),
    ("so 42", "42", 1), ("so 4.2", "4.2", 0), ("no", None, 0), ("<answer>1</answer><answer>x</answer>", "1", 0),
])  # fmt: skip
def test_what_counts(text, answer, want):
    assert integer(Q, text, Score(0.0, answer)) == want
