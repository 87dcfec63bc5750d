"""A quarter a tag, and less for going on."""

import pytest

from tests.conftest import each
from yosegi.rewards.tags import tags
from yosegi.tasks import Example, Score

Q = Example("1", "q", "42", ("42",))
GOOD = "<reasoning>\n6*7=42\n</reasoning>\n<answer>\n42\n</answer>\n"


@each("text, want", [
    (GOOD, 1), ("<reasoning>x</reasoning>", 0.5), ("<answer>", 0.25), ("<answer><answer>", 0), (GOOD + "x" * 10, 0.98),
    (GOOD + "x" * 900, 0), ("", 0),
])  # fmt: skip
def test_what_counts(text, want):
    assert tags(Q, text, Score(0.0)) == pytest.approx(want)
