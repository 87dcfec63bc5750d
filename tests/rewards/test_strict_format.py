"""The whole text, line by line."""

from tests.conftest import each
from yosegi.rewards.strict_format import strict_format
from yosegi.tasks import Example, Score

Q = Example("1", "q", "42", ("42",))
GOOD = "<reasoning>\n6*7=42\n</reasoning>\n<answer>\n42\n</answer>\n"


@each("text, want", [
    (GOOD, 1), (GOOD.rstrip("\n"), 1), (GOOD + "and", 0), ("well\n" + GOOD, 0), (GOOD.replace("\n", ""), 0), ("", 0),
])  # fmt: skip
def test_what_counts(text, want):
    assert strict_format(Q, text, Score(0.0)) == want
