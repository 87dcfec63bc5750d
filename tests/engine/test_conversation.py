"""Turns: what is asked, what is kept, who answers."""

import pytest

from yosegi.engine.arm import Arm
from yosegi.engine.conversation import Conversation
from yosegi.engine.engine import Engine
from yosegi.errors import Invalid


class Echo:
    """An engine that writes who answers, and how many turns it was shown."""

    def __init__(self):
        self.seeds = []

    def stream(self, arm, turns, *, seed, **options):
        self.seeds.append(seed)
        if turns[-1]["content"] == "refuse":
            raise Invalid("no")
        yield from (arm.name, " saw ", str(len(turns)))


def test_turns_are_remembered_and_the_arm_may_change():
    talk = Conversation(Echo(), Arm("base"), "Be brief.", seed=3)  # type: ignore[arg-type]
    assert "".join(talk.say("hi")) == "base saw 2"
    talk.arm = Arm("other")
    assert "".join(talk.say("and now?")) == "other saw 4"
    assert [turn["role"] for turn in talk.messages] == ["system", "user", "assistant", "user", "assistant"]
    assert len(set(talk.engine.seeds)) == 2, "every turn draws anew"
    talk.begin()
    assert talk.messages == []


def test_an_answer_that_is_stopped_stays_as_far_as_it_came():
    talk = Conversation(Echo(), Arm("base"))  # type: ignore[arg-type]
    pieces = talk.say("hi")
    assert next(pieces) == "base"
    pieces.close()
    assert talk.messages[-1] == {"role": "assistant", "content": "base"}


def test_a_turn_that_is_refused_is_forgotten():
    talk = Conversation(Echo(), Arm("base"))  # type: ignore[arg-type]
    with pytest.raises(Invalid):
        list(talk.say("refuse"))
    assert talk.messages == []


def test_a_base_answers_and_is_left_as_it_was(nano):
    talk = Conversation(Engine(nano), Arm("base"), max_new_tokens=8)
    before = {name: value.clone() for name, value in nano.model.named_parameters()}
    pieces = talk.say("12+30=")
    next(pieces, None)
    pieces.close()
    assert all(value.equal(before[name]) for name, value in nano.model.named_parameters())
    assert [turn["role"] for turn in talk.messages] == ["user", "assistant"]
