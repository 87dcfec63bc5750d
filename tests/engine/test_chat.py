"""From examples to text."""

import pytest

from yosegi.engine.chat import render
from yosegi.errors import UnknownName
from yosegi.tasks import Example

SHOT, ASKED = Example("1", "1+1=", "2"), Example("2", "1+2=", "3")


def test_without_a_template_the_text_is_the_prompt_as_it_is():
    assert render(ASKED) == ("1+2=", "3")
    assert render(ASKED, [SHOT, SHOT]) == ("1+1=2\n\n1+1=2\n\n1+2=", "3")


def test_messages_take_the_place_of_prompt_and_target():
    turns = (
        {"role": "user", "content": "Hello."},
        {"role": "assistant", "content": "Yes?"},
        {"role": "user", "content": "1+2?"},
    )
    talk = Example("3", "", "", messages=(*turns, {"role": "assistant", "content": "3"}))
    assert render(talk) == ("Hello.\n\nYes?\n\n1+2?", "3")


def test_templates_that_are_not_there_are_named():
    with pytest.raises(UnknownName, match="chat template is called 'chatml'"):
        render(ASKED, template="chatml")
