"""A local model: asked in batches, its answers kept after each, nothing twice."""

from functools import cache

import pytest
import torch

from yosegi.bases import load
from yosegi.core.expert import Expert, Factors
from yosegi.engine.arm import Arm
from yosegi.engine.generate import generate
from yosegi.errors import Invalid, UnknownName
from yosegi.inits import fresh
from yosegi.library.store import Library
from yosegi.tasks import Example
from yosegi.teachers import Question
from yosegi.teachers.local import Local

ROWS = [Example(str(n), f"q{n}", f"a{n}") for n in range(5)]


@cache
def nano():
    return load("nano", device="cpu")


class Model:
    def __init__(self, dies_at=99):
        self.batches, self.dies_at = [], dies_at

    def __call__(self, chats):
        if len(self.batches) == self.dies_at:
            raise KeyboardInterrupt
        self.batches.append([chat[1]["content"] for chat in chats])
        return ["System 2" if "q3" in chat[1]["content"] else '{"system": 1}' for chat in chats]


def judge(model, **options):
    teacher = Local(nano(), **options)
    teacher.write = model
    return teacher


def test_batches_and_votes():
    model = Model()
    votes = judge(model, batch_size=2).label(ROWS, Question())
    assert [vote.system for vote in votes] == [0, 0, 0, 1, 0] and [len(b) for b in model.batches] == [2, 2, 1]
    assert "q4" in model.batches[2][0] and "a4" in model.batches[2][0]


def test_what_was_written_before_a_kill_is_not_written_again(tmp_path):
    path, dying, model = tmp_path / "answers.jsonl", Model(dies_at=2), Model()
    with pytest.raises(KeyboardInterrupt):
        judge(dying, batch_size=2, answers=path).label(ROWS, Question())
    votes = judge(model, batch_size=2, answers=path).label(ROWS, Question())
    assert len(model.batches) == 1 and [vote.system for vote in votes] == [0, 0, 0, 1, 0]
    judge(model, max_tokens=7, batch_size=9, answers=path).label(ROWS, Question())
    assert len(model.batches) == 2 and len(model.batches[1]) == 5, "another limit means other answers"


def test_a_real_model_writes():
    assert len(Local(nano(), max_tokens=4).label(ROWS[:2], Question())) == 2


def test_no_empty_batches():
    with pytest.raises(Invalid, match="batch_size=0"):
        Local(nano(), batch_size=0)


def test_an_arm_of_a_library_may_be_the_teacher(tmp_path):
    begun = fresh(nano().model, "odd", rank=2, alpha=2, task="skills/add")
    factors = {k: Factors(f.A_RI, torch.randn_like(f.B_OR) * 0.1, f.scale) for k, f in begun.factors.items()}
    odd = Expert("odd", factors, {"task": ["skills/add"], "base_hash": nano().hash})
    Library(tmp_path, nano().hash, "nano").add(odd)
    teacher = Local(nano(), library=str(tmp_path), arm="odd", max_tokens=8)
    chats = [[{"role": "system", "content": ""}, {"role": "user", "content": "reverse: abc"}]]
    written = teacher.write(chats)
    with Arm("odd", [odd]).attached(nano()) as banks:
        assert written == [a.text for a in generate(nano(), chats, banks=banks, max_new_tokens=8)]
    assert teacher.about() != Local(nano(), max_tokens=8).about() and teacher.name == "local/nano odd"
    with pytest.raises(UnknownName):
        Local(nano(), library=str(tmp_path), arm="nobody")
