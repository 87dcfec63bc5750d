"""What a command line may say of answers is what the engine understands."""

import pytest
from pydantic import ValidationError

from yosegi.engine.request import Options
from yosegi.engine.settings import AskSettings


def test_every_option_of_the_engine_is_a_flag():
    asked = AskSettings(max_new_tokens=7, top_p=0.5, stop=["\n"])
    assert {*asked.answering, "seed", "n"} == {*Options.__annotations__, "task"}
    assert (asked.answering["max_new_tokens"], asked.answering["top_p"], asked.answering["stop"]) == (7, 0.5, ["\n"])


@pytest.mark.parametrize(
    "wrong", [{"temperature": -1}, {"top_p": 0}, {"top_p": 1.5}, {"max_new_tokens": 0}, {"top_k": -1}]
)
def test_what_no_answer_can_have_is_refused(wrong):
    with pytest.raises(ValidationError):
        AskSettings(**wrong)
