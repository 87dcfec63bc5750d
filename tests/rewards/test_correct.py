"""The task decides."""

from tests.conftest import each
from yosegi.rewards.correct import correct
from yosegi.tasks import Example, Score

Q = Example("1", "q", "42", ("42",))
GOOD = "<reasoning>\n6*7=42\n</reasoning>\n<answer>\n42\n</answer>\n"


@each("value", [0.0, 0.5, 1.0])
def test_it_is_the_score(value):
    assert correct(Q, GOOD, Score(value, "42")) == value
